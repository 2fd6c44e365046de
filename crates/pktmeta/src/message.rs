//! What the kernel says beside a datagram's payload: who sent it, and its ticket.

use crate::sys::{SO_RCVMARK, SO_RCVPRIORITY};
use pktmeta_core::abi;
use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// Room for what stands beside one datagram.
#[derive(Clone)]
#[repr(C, align(8))]
pub(crate) struct Envelope {
    /// The kernel puts timestamps (128 bytes), Wi-Fi status and drops (48) before mark and priority
    /// (48), and everything else after them: tickets are never what does not fit.
    control: [u8; 256],
    name: [u8; size_of::<libc::sockaddr_storage>()],
}

impl Envelope {
    pub(crate) const fn new() -> Self {
        Self {
            control: [0; 256],
            name: [0; size_of::<libc::sockaddr_storage>()],
        }
    }

    /// A message header that makes the kernel fill `self` and what `payload` points to.
    pub(crate) fn header(&mut self, payload: &mut libc::iovec) -> libc::msghdr {
        // SAFETY: A `msghdr` of zeros is one without buffers.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = self.name.as_mut_ptr().cast();
        header.msg_namelen = self.name.len() as _;
        header.msg_iov = payload;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = self.control.len() as _;
        header
    }

    /// The sender, once a message was received with `header`.
    pub(crate) fn sender(&self, header: &libc::msghdr) -> io::Result<SocketAddr> {
        let length = (header.msg_namelen as usize).min(self.name.len());
        socket_address(&self.name[..length]).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the message has no IP sender: this is not a UDP socket",
            )
        })
    }

    /// The control messages, once a message was received with `header`.
    pub(crate) fn control(&self, header: &libc::msghdr) -> &[u8] {
        let length: usize = header.msg_controllen as _;
        &self.control[..length.min(self.control.len())]
    }
}

/// Where a ticket of a socket's datagrams stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// In the datagram's mark.
    Mark,
    /// In the datagram's priority.
    Priority,
}

impl Carrier {
    /// The carrier that `PKTMETA_TICKETS` names, if tickets are on.
    pub(crate) fn from_option(value: i32) -> Option<Self> {
        match value {
            abi::PKTMETA_TICKETS_MARK => Some(Self::Mark),
            abi::PKTMETA_TICKETS_PRIORITY => Some(Self::Priority),
            _ => None,
        }
    }

    /// What `PKTMETA_TICKETS` calls it.
    pub(crate) fn option(self) -> i32 {
        match self {
            Self::Mark => abi::PKTMETA_TICKETS_MARK,
            Self::Priority => abi::PKTMETA_TICKETS_PRIORITY,
        }
    }

    /// The option that makes the kernel hand it over.
    pub(crate) fn receive_option(self) -> i32 {
        match self {
            Self::Mark => SO_RCVMARK,
            Self::Priority => SO_RCVPRIORITY,
        }
    }
}

/// What control messages say that may be a ticket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tickets {
    mark: Option<u32>,
    priority: Option<u32>,
}

impl Tickets {
    /// Reads the bytes that `recvmsg` stored in `msg_control`; what is not for us, or not whole, is
    /// skipped.
    pub(crate) fn parse(mut control: &[u8]) -> Self {
        let mut tickets = Self::default();
        while let Some((message, rest)) = ControlMessage::split(control) {
            control = rest;
            let slot = match (message.level, message.kind) {
                (libc::SOL_SOCKET, libc::SO_MARK) => &mut tickets.mark,
                (libc::SOL_SOCKET, libc::SO_PRIORITY) => &mut tickets.priority,
                _ => continue,
            };
            if let Some(value) = message.data.first_chunk() {
                *slot = Some(u32::from_ne_bytes(*value));
            }
        }
        tickets
    }

    /// True if there is nothing that could be a ticket.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The ticket in `carrier`.
    pub(crate) fn of(self, carrier: Carrier) -> Option<u32> {
        match carrier {
            Carrier::Mark => self.mark,
            Carrier::Priority => self.priority,
        }
    }
}

struct ControlMessage<'a> {
    level: i32,
    kind: i32,
    data: &'a [u8],
}

impl<'a> ControlMessage<'a> {
    /// The first message and what follows it. The kernel's `struct cmsghdr`, whatever libc's looks
    /// like: a `size_t` with the length of header and data, level, type.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, after) = bytes.split_first_chunk()?;
        let (level, after) = after.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let length = usize::from_ne_bytes(*length);
        let header = bytes.len() - after.len();
        let message = Self {
            level: i32::from_ne_bytes(*level),
            kind: i32::from_ne_bytes(*kind),
            data: bytes.get(header..length)?,
        };
        let next = length.next_multiple_of(size_of::<usize>());
        Some((message, bytes.get(next..).unwrap_or_default()))
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`.
fn socket_address(name: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = name.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let address = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddrV4::new(address, port).into())
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk()?);
            let flow = u32::from_ne_bytes(*flow);
            Some(SocketAddrV6::new(Ipv6Addr::from(*address), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let length = size_of::<usize>() + 8 + data.len();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(length.next_multiple_of(size_of::<usize>()), 0xee);
        bytes
    }

    fn mark(value: u32) -> Vec<u8> {
        message(libc::SOL_SOCKET, libc::SO_MARK, &value.to_ne_bytes())
    }

    #[test]
    fn tickets_are_found_among_other_messages() {
        let others = [
            message(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 12]),
            message(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &[2; 16]),
            message(libc::IPPROTO_IP, libc::SO_MARK, &[3; 4]),
            message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[]),
            message(libc::IPPROTO_IP, libc::IP_TTL, &[4; 3]),
        ];
        for at in 0..=others.len() {
            let mut bytes = others[..at].concat();
            bytes.extend(mark(7));
            bytes.extend(others[at..].concat());
            let tickets = Tickets::parse(&bytes);
            assert_eq!(tickets.of(Carrier::Mark), Some(7));
            assert_eq!(tickets.of(Carrier::Priority), None);
        }
        assert!(Tickets::parse(&others.concat()).is_empty());
        assert!(Tickets::parse(&[]).is_empty());
        let both = [
            mark(1),
            message(libc::SOL_SOCKET, libc::SO_PRIORITY, &2u32.to_ne_bytes()),
        ];
        let both = Tickets::parse(&both.concat());
        assert_eq!((both.mark, both.priority), (Some(1), Some(2)));
    }

    #[test]
    fn a_message_cut_short_is_none() {
        let bytes = mark(7);
        let whole = size_of::<usize>() + 8 + 4;
        for end in 0..whole {
            assert!(Tickets::parse(&bytes[..end]).is_empty(), "{end}");
            // As MSG_CTRUNC leaves it: the length says what was stored.
            let mut cut = bytes[..end].to_vec();
            if end >= size_of::<usize>() {
                cut[..size_of::<usize>()].copy_from_slice(&end.to_ne_bytes());
            }
            assert!(Tickets::parse(&cut).is_empty(), "{end}");
        }
        assert_eq!(
            Tickets::parse(&bytes[..whole]).of(Carrier::Mark),
            Some(7),
            "padding may be missing"
        );
    }

    #[test]
    fn no_bytes_hang_the_parser_or_make_it_panic() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random() % 96).map(|_| random() as u8).collect();
            // Lengths that are nearly right reach further than random ones.
            for word in bytes.chunks_exact_mut(size_of::<usize>()) {
                if random() % 2 == 0 {
                    let length = match random() % 8 {
                        0 => usize::MAX,
                        _ => random() as usize % 40,
                    };
                    word.copy_from_slice(&length.to_ne_bytes());
                }
            }
            let _ = Tickets::parse(&bytes);
            let _ = socket_address(&bytes);
        }
    }

    #[test]
    fn only_ip_senders_are_addresses() {
        let mut envelope = Envelope::new();
        let mut payload = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut header = envelope.header(&mut payload);
        for family in [libc::AF_UNSPEC, libc::AF_UNIX, libc::AF_NETLINK] {
            envelope.name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
            assert!(envelope.sender(&header).is_err());
        }
        envelope.name[..8].copy_from_slice(&[0, 0, 0x12, 0x34, 192, 0, 2, 1]);
        envelope.name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        let sender = envelope.sender(&header).unwrap();
        assert_eq!(sender, "192.0.2.1:4660".parse().unwrap());
        header.msg_namelen = 7;
        assert!(envelope.sender(&header).is_err());
    }
}
