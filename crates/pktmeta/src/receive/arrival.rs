//! Addresses, interface and congestion marks of a datagram that was received.

use crate::net::{cmsg::ControlMessage, sockopt};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
};

/// How a datagram arrived.
///
/// All is `None` unless the socket asked for it:
/// [`UdpMeta::enable_arrival`](crate::UdpMeta::enable_arrival).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The address that it was sent to, as its IP header has it.
    pub to: Option<IpAddr>,
    /// The address of this host to answer from: [`Arrival::to`], unless that is of a group or a
    /// broadcast.
    pub local: Option<IpAddr>,
    /// The index of the interface by which it came.
    pub interface: Option<u32>,
    /// The congestion mark that routers left.
    pub ecn: Option<Ecn>,
}

/// Explicit congestion notification: RFC 3168, section 5.
///
/// Exhaustive: two bits have four values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The sender does not take part.
    NotEct = 0b00,
    /// The sender takes part; ECT(1), which L4S uses.
    Ect1 = 0b01,
    /// The sender takes part; ECT(0).
    Ect0 = 0b10,
    /// A router on the way was congested.
    Ce = 0b11,
}

impl Arrival {
    /// Notes what a control message says, if it says how a datagram arrived.
    pub(super) fn note(&mut self, message: &ControlMessage<'_>) {
        match (message.level, message.kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                self.ecn = message.data.first().map(|tos| Ecn::of(*tos));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.ecn = message.number().map(|class| Ecn::of(class as u8));
            }
            // `struct in_pktinfo`: interface, the address to answer from, the header's destination.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let ([interface, local, to], []) = message.data.as_chunks::<4>() {
                    let address = |bytes: &[u8; 4]| Ipv4Addr::from(*bytes).into();
                    self.interface = Some(u32::from_ne_bytes(*interface));
                    self.local = Some(address(local));
                    self.to = Some(address(to));
                }
            }
            // `struct in6_pktinfo`: the header's destination, interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some((to, interface)) = message.data.split_first_chunk::<16>() {
                    let to = Ipv6Addr::from(*to);
                    self.interface = interface
                        .first_chunk()
                        .map(|bytes| u32::from_ne_bytes(*bytes));
                    self.local = Some(to).filter(is_of_one_host).map(IpAddr::from);
                    self.to = Some(to.into());
                }
            }
            _ => {}
        }
    }
}

impl Ecn {
    /// The low two bits of the type of service, or traffic class.
    fn of(class: u8) -> Self {
        match class & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// Makes the kernel say how a UDP socket's datagrams arrive.
pub(crate) fn enable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on = |level, name| sockopt::set_number(socket, level, name, 1);
    if sockopt::get_number(socket, libc::SOL_SOCKET, libc::SO_DOMAIN)? == libc::AF_INET6 {
        on(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        on(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)?;
        // An IPv6 socket receives IPv4 too: its addresses as those of IPv6, but its type of service
        // in a message of IPv4.
    } else {
        on(libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    }
    on(libc::IPPROTO_IP, libc::IP_RECVTOS)
}

/// Lets the kernel merge a UDP socket's datagrams.
pub(crate) fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set_number(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// True unless it is the address of a group or a broadcast, in the form of IPv4 too.
fn is_of_one_host(address: &Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        None => !address.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::cmsg::tests::message;

    fn arrival(control: &[u8]) -> Arrival {
        let mut arrival = Arrival::default();
        for message in ControlMessage::all(control) {
            arrival.note(&message);
        }
        arrival
    }

    #[test]
    fn what_the_kernel_says_of_ipv4_is_told() {
        let info = [7u32.to_ne_bytes(), [192, 0, 2, 1], [224, 0, 0, 251]].concat();
        let control = [
            message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info),
            message(libc::IPPROTO_IP, libc::IP_TOS, &[0xb8 | 2]),
        ];
        let told = arrival(&control.concat());
        assert_eq!(told.to, Some("224.0.0.251".parse().unwrap()));
        assert_eq!(told.local, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((told.interface, told.ecn), (Some(7), Some(Ecn::Ect0)));
    }

    #[test]
    fn what_the_kernel_says_of_ipv6_is_told() {
        for (to, answers) in [
            ("2001:db8::1", true),
            ("ff02::fb", false),
            ("::ffff:192.0.2.1", true),
            ("::ffff:224.0.0.251", false),
        ] {
            let to: Ipv6Addr = to.parse().unwrap();
            let info = [&to.octets()[..], &7u32.to_ne_bytes()].concat();
            let control = [
                message(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &3i32.to_ne_bytes()),
                message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info),
            ];
            let told = arrival(&control.concat());
            assert_eq!(told.to, Some(to.into()));
            assert_eq!(told.local, answers.then_some(to.into()));
            assert_eq!((told.interface, told.ecn), (Some(7), Some(Ecn::Ce)));
        }
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        let info = message(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 11]);
        assert_eq!(arrival(&info), Arrival::default());
        let info = message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[1; 15]);
        assert_eq!(arrival(&info), Arrival::default());
        assert_eq!(arrival(&[]), Arrival::default());
    }
}
