//! What stands beside a datagram's payload: its sender or receiver, and its ticket.

use crate::{carrier::Carrier, sender::TxCarrier, tickets::TxTicket};
use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
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

/// One datagram to be sent, and what is said beside its payload.
#[repr(C, align(8))]
pub(crate) struct Outbound {
    control: [u8; Self::CONTROL],
    control_length: usize,
    name: [u8; size_of::<libc::sockaddr_in6>()],
    name_length: usize,
    payload: libc::iovec,
}

impl Outbound {
    /// Room for the longest message, a time.
    const CONTROL: usize = ControlMessage::HEADER + 8;

    pub(crate) const EMPTY: Self = Self {
        control: [0; Self::CONTROL],
        control_length: 0,
        name: [0; size_of::<libc::sockaddr_in6>()],
        name_length: 0,
        payload: libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        },
    };

    /// A datagram to `to`, or to whom the socket is connected with.
    pub(crate) fn new(
        data: &[u8],
        to: Option<SocketAddr>,
        ticket: Option<(TxCarrier, TxTicket)>,
    ) -> Self {
        let mut outbound = Self::EMPTY;
        outbound.payload = libc::iovec {
            // Only read: sendmsg(2).
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        };
        if let Some(to) = to {
            outbound.name_length = store_address(to, &mut outbound.name);
        }
        if let Some((carrier, ticket)) = ticket {
            let number = ticket.get();
            let (kind, data) = match carrier {
                TxCarrier::Mark => (libc::SO_MARK, &number.to_ne_bytes()[..]),
                TxCarrier::Time => (libc::SCM_TXTIME, &u64::from(number).to_ne_bytes()[..]),
            };
            let message = ControlMessage {
                level: libc::SOL_SOCKET,
                kind,
                data,
            };
            outbound.control_length = message.store(&mut outbound.control);
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

/// What control messages say that may be a ticket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tickets {
    mark: Option<u32>,
    priority: Option<u32>,
    timestamp: Option<u32>,
}

impl Tickets {
    /// Reads the bytes that `recvmsg` stored in `msg_control`; what is not for us, or not whole, is
    /// skipped.
    pub(crate) fn parse(control: &[u8]) -> Self {
        let mut tickets = Self::default();
        for message in ControlMessage::all(control) {
            let number = || Some(u32::from_ne_bytes(*message.data.first_chunk()?));
            match (message.level, message.kind) {
                (libc::SOL_SOCKET, libc::SO_MARK) => tickets.mark = number(),
                (libc::SOL_SOCKET, libc::SO_PRIORITY) => tickets.priority = number(),
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    tickets.timestamp = Some(ticket_of_time(message.data));
                }
                _ => {}
            }
        }
        tickets
    }

    /// A ticket that no control message brought.
    #[cfg(feature = "mock")]
    pub(crate) fn in_carrier(carrier: Carrier, ticket: u32) -> Self {
        let mut tickets = Self::default();
        let place = match carrier {
            Carrier::Mark => &mut tickets.mark,
            Carrier::Priority => &mut tickets.priority,
            Carrier::Timestamp => &mut tickets.timestamp,
        };
        *place = Some(ticket);
        tickets
    }

    /// True if there is nothing that could be a ticket.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The ticket in `carrier`.
    pub(crate) fn of(&self, carrier: Carrier) -> Option<u32> {
        match carrier {
            Carrier::Mark => self.mark,
            Carrier::Priority => self.priority,
            Carrier::Timestamp => self.timestamp,
        }
    }
}

/// The nanoseconds of a `struct timespec`; 0, which is no ticket, of a time that is one.
fn ticket_of_time(time: &[u8]) -> u32 {
    let nanoseconds = || {
        let (seconds, nanoseconds) = time.split_at_checked(time.len() / 2)?;
        let seconds = signed(seconds)?.checked_mul(1_000_000_000)?;
        u32::try_from(seconds.checked_add(signed(nanoseconds)?)?).ok()
    };
    nanoseconds().unwrap_or(0)
}

/// A C `long`.
fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i32::from_ne_bytes(bytes.try_into().ok()?).into()),
        8 => Some(i64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

pub(crate) struct ControlMessage<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl<'a> ControlMessage<'a> {
    /// What `recvmsg` stored in `msg_control`, up to what is not whole.
    pub(crate) fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (message, rest) = Self::split(bytes)?;
            bytes = rest;
            Some(message)
        })
    }

    /// Bytes before the data.
    const HEADER: usize = size_of::<usize>() + 8;

    /// Stores the message at the front of `bytes`, which has room for it, and returns its length.
    fn store(&self, bytes: &mut [u8]) -> usize {
        let length = Self::HEADER + self.data.len();
        let parts = [
            &length.to_ne_bytes()[..],
            &self.level.to_ne_bytes(),
            &self.kind.to_ne_bytes(),
            self.data,
        ];
        for (byte, stored) in parts.into_iter().flatten().zip(bytes) {
            *stored = *byte;
        }
        length
    }

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
pub(crate) fn socket_address(name: &[u8]) -> Option<SocketAddr> {
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

/// Stores a `sockaddr_in` or `sockaddr_in6`, and returns its length.
fn store_address(address: SocketAddr, name: &mut [u8; size_of::<libc::sockaddr_in6>()]) -> usize {
    let port = address.port().to_be_bytes();
    let (family, first, second, scope) = match address {
        SocketAddr::V4(v4) => (libc::AF_INET, &v4.ip().octets()[..], &[][..], [0; 4]),
        SocketAddr::V6(v6) => (
            libc::AF_INET6,
            &v6.flowinfo().to_ne_bytes()[..],
            &v6.ip().octets()[..],
            v6.scope_id().to_ne_bytes(),
        ),
    };
    let family = (family as libc::sa_family_t).to_ne_bytes();
    let parts = [&family[..], &port, first, second, &scope];
    for (byte, stored) in parts.into_iter().flatten().zip(name) {
        *stored = *byte;
    }
    match address {
        SocketAddr::V4(_) => size_of::<libc::sockaddr_in>(),
        SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tickets::TxTickets;
    use pktmeta_core::Record;

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
            message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[2; 16]),
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
    fn only_a_time_near_1970_is_a_ticket() {
        let of = |seconds: i64, nanoseconds: i64| {
            let time = [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat();
            let message = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
            Tickets::parse(&message).of(Carrier::Timestamp)
        };
        assert_eq!(of(0, 7), Some(7));
        assert_eq!(of(4, 294_967_295), Some(u32::MAX));
        // Somebody's time: the datagram reached the socket without a ticket.
        for (seconds, nanoseconds) in [(4, 294_967_296), (1_764_081_163, 0), (-1, 7), (i64::MAX, 7)]
        {
            assert_eq!(of(seconds, nanoseconds), Some(0), "{seconds} s");
        }
        let short = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &[1, 0, 0]);
        assert_eq!(Tickets::parse(&short).of(Carrier::Timestamp), Some(0));
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
    fn an_outbound_datagram_has_its_address_and_its_ticket() {
        for to in [
            "192.0.2.1:4660",
            "[2001:db8::1%7]:443",
            "[::ffff:192.0.2.1]:1",
        ] {
            let to: SocketAddr = to.parse().unwrap();
            let outbound = Outbound::new(b"hello", Some(to), None);
            assert_eq!(
                socket_address(&outbound.name[..outbound.name_length]),
                Some(to)
            );
        }
        let ticket = TxTickets::new().ticket(&Record::new(), |_| Ok::<(), ()>(()));
        let ticket = ticket.unwrap();
        let control = |carrier| {
            let mut outbound = Outbound::new(b"", None, Some((carrier, ticket)));
            let header = outbound.header();
            assert!(header.msg_name.is_null());
            let length: usize = header.msg_controllen as _;
            outbound.control[..length].to_vec()
        };
        let number = ticket.get();
        let mark = message(libc::SOL_SOCKET, libc::SO_MARK, &number.to_ne_bytes());
        assert_eq!(control(TxCarrier::Mark), mark[..mark.len() - 4]);
        let time = u64::from(number).to_ne_bytes();
        let time = message(libc::SOL_SOCKET, libc::SCM_TXTIME, &time);
        assert_eq!(control(TxCarrier::Time), time);
        let mut unlabelled = Outbound::new(b"hello", None, None);
        assert!(unlabelled.header().msg_control.is_null());
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
