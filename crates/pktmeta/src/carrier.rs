//! How a ticket travels in a control message, to an application and back.

use crate::net::cmsg::ControlMessage;
use pktmeta_core::{
    abi,
    linux::{SO_RCVMARK, SO_RCVPRIORITY},
};

/// The property of a datagram that its ticket takes the place of.
///
/// The property is lost on this socket only, between the datapath and `recvmsg`: routing, netfilter
/// and TC see the packet's own.
///
/// The control message takes 24 bytes of `msg_control` (`CMSG_SPACE(4)`), that of a timestamp 32.
/// `sock_recv_cmsgs` stores it before the messages of UDP and IP. So if a buffer has no room for
/// these bytes, it lacks the last message: the ECN of a QUIC server, say. The calls of this crate
/// have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// The mark, by `SO_RCVMARK`: Linux 5.19, and some kernels want `CAP_NET_RAW` or
    /// `CAP_NET_ADMIN` for it (6.1 was one).
    /// [`PacketMeta::displaced`](crate::PacketMeta::displaced) has the datagram's own mark.
    Mark,
    /// The priority, by `SO_RCVPRIORITY`: Linux 6.14, no capability.
    /// [`PacketMeta::displaced`](crate::PacketMeta::displaced) has the datagram's own priority.
    Priority,
    /// The time of arrival, by `SO_TIMESTAMPNS`: any Linux, no capability. The time is lost; let a
    /// program record it in a field instead.
    Timestamp,
}

impl Carrier {
    /// All of them, in the order in which they are tried.
    pub(crate) const ALL: [Self; 3] = [Self::Mark, Self::Priority, Self::Timestamp];

    /// The carrier that `PKTMETA_TICKETS` names, if tickets are on.
    pub(crate) fn from_option(value: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|carrier| carrier.option() == value)
    }

    /// The value of `PKTMETA_TICKETS` that means it.
    pub(crate) fn option(self) -> i32 {
        match self {
            Self::Mark => abi::PKTMETA_TICKETS_MARK,
            Self::Priority => abi::PKTMETA_TICKETS_PRIORITY,
            Self::Timestamp => abi::PKTMETA_TICKETS_TIMESTAMP,
        }
    }

    /// The socket option that makes the kernel hand it over.
    pub(crate) fn receive_option(self) -> i32 {
        match self {
            Self::Mark => SO_RCVMARK,
            Self::Priority => SO_RCVPRIORITY,
            Self::Timestamp => libc::SO_TIMESTAMPNS,
        }
    }
}

/// The numbers in control messages that may be tickets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tickets {
    mark: Option<u32>,
    priority: Option<u32>,
    timestamp: Option<u32>,
}

impl Tickets {
    /// Reads the bytes that `recvmsg` stored in `msg_control`. Messages that are others', or cut
    /// short, are skipped.
    pub(crate) fn parse(control: &[u8]) -> Self {
        let mut tickets = Self::default();
        for message in ControlMessage::all(control) {
            tickets.note(&message);
        }
        tickets
    }

    /// Notes the number in a message, if that may be a ticket.
    pub(crate) fn note(&mut self, message: &ControlMessage<'_>) {
        let number = || message.number().map(i32::cast_unsigned);
        match (message.level, message.kind) {
            (libc::SOL_SOCKET, libc::SO_MARK) => self.mark = number(),
            (libc::SOL_SOCKET, libc::SO_PRIORITY) => self.priority = number(),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                self.timestamp = Some(ticket_of_time(message.data));
            }
            _ => {}
        }
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

/// The name of a record for datagrams that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TxTicket(u32);

impl TxTicket {
    /// The option at `SOL_PKTMETA_DGRAM`, the mark, or the nanoseconds of the time.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn numbered(number: u32) -> Self {
        Self(abi::TX_TICKET | number & !abi::TX_TICKET_MASK)
    }

    /// The next that has the same slot.
    pub(crate) const fn next(self) -> Self {
        Self::numbered(self.0.wrapping_add(abi::TX_SLOTS))
    }
}

/// The carrier of the ticket of a datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxCarrier {
    /// In its mark.
    Mark,
    /// In the time at which to send it.
    Time,
}

impl TxCarrier {
    /// Stores a ticket as a control message, and returns the bytes that it takes.
    pub(crate) fn store(self, ticket: TxTicket, control: &mut [u8]) -> usize {
        let number = ticket.get();
        let (kind, data) = match self {
            Self::Mark => (libc::SO_MARK, &number.to_ne_bytes()[..]),
            Self::Time => (libc::SCM_TXTIME, &u64::from(number).to_ne_bytes()[..]),
        };
        let level = libc::SOL_SOCKET;
        ControlMessage { level, kind, data }.store(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{cmsg::tests::message, sockaddr};

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
        // Of a kernel whose `long` has 32 bits.
        let time = [0i32.to_ne_bytes(), 7i32.to_ne_bytes()].concat();
        let small = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
        assert_eq!(Tickets::parse(&small).of(Carrier::Timestamp), Some(7));
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
            let _ = sockaddr::parse(&bytes);
        }
    }
}
