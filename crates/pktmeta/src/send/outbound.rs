//! Message headers and control messages of datagrams to be sent.

use crate::{
    carrier::{TxCarrier, TxTicket},
    net::{cmsg::ControlMessage, sockaddr},
};
use std::{
    mem,
    net::{IpAddr, SocketAddr},
    ptr,
};

/// One datagram to be sent, with its control messages.
#[repr(C, align(8))]
pub(crate) struct Outbound {
    control: [u8; Self::CONTROL],
    control_length: usize,
    name: [u8; sockaddr::LONGEST],
    name_length: usize,
    payload: libc::iovec,
}

impl Outbound {
    /// Room for the longest ticket, a time, and the longest source, a `struct in6_pktinfo`.
    const CONTROL: usize = ControlMessage::space(8) + ControlMessage::space(20);

    pub(crate) const EMPTY: Self = Self {
        control: [0; Self::CONTROL],
        control_length: 0,
        name: [0; sockaddr::LONGEST],
        name_length: 0,
        payload: libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        },
    };

    /// A datagram to `to`, or to the peer that the socket is connected with; from `from`, or from
    /// an address that the kernel chooses.
    pub(crate) fn new(
        data: &[u8],
        to: Option<SocketAddr>,
        from: Option<IpAddr>,
        ticket: Option<(TxCarrier, TxTicket)>,
    ) -> Self {
        let mut outbound = Self::EMPTY;
        outbound.payload = libc::iovec {
            // Only read: sendmsg(2).
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        };
        if let Some(to) = to {
            outbound.name_length = sockaddr::store(to, &mut outbound.name);
        }
        if let Some((carrier, ticket)) = ticket {
            outbound.control_length = carrier.store(ticket, &mut outbound.control);
        }
        if let Some(from) = from {
            let room = &mut outbound.control[outbound.control_length..];
            outbound.control_length += store_source(from, room);
        }
        outbound
    }

    /// A message header that makes the kernel read `self`, and the payload.
    pub(crate) fn header(&mut self) -> libc::msghdr {
        // SAFETY: A `msghdr` of zeros is one without buffers.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        if self.name_length != 0 {
            header.msg_name = self.name.as_mut_ptr().cast();
            header.msg_namelen = self.name_length as _;
        }
        header.msg_iov = &raw mut self.payload;
        header.msg_iovlen = 1;
        if self.control_length != 0 {
            header.msg_control = self.control.as_mut_ptr().cast();
            header.msg_controllen = self.control_length as _;
        }
        header
    }
}

/// Stores the address to send from, and returns the bytes that it takes.
fn store_source(from: IpAddr, control: &mut [u8]) -> usize {
    let mut info = [0; 20];
    let (level, kind, size) = match from {
        IpAddr::V4(v4) => {
            // `struct in_pktinfo`: interface, source, and a field that only receivers use.
            info[4..8].copy_from_slice(&v4.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 12)
        }
        IpAddr::V6(v6) => {
            // `struct in6_pktinfo`: source, interface.
            info[..16].copy_from_slice(&v6.octets());
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20)
        }
    };
    let data = &info[..size];
    ControlMessage { level, kind, data }.store(control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::cmsg::tests::message;

    #[test]
    fn an_outbound_datagram_has_its_address_and_its_ticket() {
        for to in [
            "192.0.2.1:4660",
            "[2001:db8::1%7]:443",
            "[::ffff:192.0.2.1]:1",
        ] {
            let to: SocketAddr = to.parse().unwrap();
            let outbound = Outbound::new(b"hello", Some(to), None, None);
            assert_eq!(
                sockaddr::parse(&outbound.name[..outbound.name_length]),
                Some(to)
            );
        }
        let ticket = TxTicket::numbered(7);
        let control = |carrier| {
            let mut outbound = Outbound::new(b"", None, None, Some((carrier, ticket)));
            let header = outbound.header();
            assert!(header.msg_name.is_null());
            let length: usize = header.msg_controllen as _;
            outbound.control[..length].to_vec()
        };
        let number = ticket.get();
        let mark = message(libc::SOL_SOCKET, libc::SO_MARK, &number.to_ne_bytes());
        assert_eq!(control(TxCarrier::Mark)[..20], mark[..20]);
        let time = u64::from(number).to_ne_bytes();
        let time = message(libc::SOL_SOCKET, libc::SCM_TXTIME, &time);
        assert_eq!(control(TxCarrier::Time), time);
        let mut unlabelled = Outbound::new(b"hello", None, None, None);
        assert!(unlabelled.header().msg_control.is_null());
    }

    #[test]
    fn a_source_comes_after_the_ticket() {
        let ticket = Some((TxCarrier::Time, TxTicket::numbered(7)));
        for (from, level, info) in [
            (
                "192.0.2.7",
                libc::IPPROTO_IP,
                vec![0, 0, 0, 0, 192, 0, 2, 7, 0, 0, 0, 0],
            ),
            ("2001:db8::7", libc::IPPROTO_IPV6, {
                let address: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
                [&address.octets()[..], &[0; 4]].concat()
            }),
        ] {
            let mut outbound = Outbound::new(b"", None, Some(from.parse().unwrap()), ticket);
            let length: usize = outbound.header().msg_controllen as _;
            let mut messages = ControlMessage::all(&outbound.control[..length]);
            assert_eq!(messages.next().unwrap().kind, libc::SCM_TXTIME);
            let source = messages.next().unwrap();
            assert_eq!((source.level, source.data), (level, &info[..]));
            assert!(messages.next().is_none());
        }
    }
}
