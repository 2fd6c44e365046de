//! Numbers and layouts shared with the BPF programs and with applications in any language.
//!
//! `docs/abi.md` is the contract; `include/pktmeta/abi.h` says the same in C. A test in
//! `pktmeta-bpf` compares the three.

/// Socket option level of everything that is not about one datagram: "PM".
pub const SOL_PKTMETA: i32 = 0x504d;

/// Socket option level whose option *name* is a ticket. A `cgroup/getsockopt` program sees the
/// option's name but not the caller's buffer, so the name is the only way in.
pub const SOL_PKTMETA_DGRAM: i32 = 0x504e;

/// `getsockopt`: a [`Info`] that describes the datapath.
pub const PKTMETA_INFO: i32 = 1;

/// `getsockopt` on a TCP socket: the latest record that arrived on the connection.
pub const PKTMETA_RX: i32 = 2;

/// `getsockopt` on a TCP socket: the record of the segment that opened the connection, the peer's
/// SYN or SYN-ACK.
pub const PKTMETA_RX_SYN: i32 = 3;

/// `getsockopt` and `setsockopt` on a UDP socket: where its datagrams carry their tickets, an
/// `i32` that is one of the `PKTMETA_TICKETS_*` values.
pub const PKTMETA_TICKETS: i32 = 4;

/// `getsockopt`, plus a TLV type: the [`crate::FieldInfo`] of the field with that type, else of the
/// one with the next; `ENODATA` if there is none.
pub const PKTMETA_FIELD_INFO: i32 = 0x100;

/// No tickets (the default).
pub const PKTMETA_TICKETS_OFF: i32 = 0;

/// Tickets replace `skb->mark` on its way to the socket: read them with `SO_RCVMARK`.
pub const PKTMETA_TICKETS_MARK: i32 = 1;

/// Tickets replace `skb->priority` on its way to the socket: read them with `SO_RCVPRIORITY`
/// (Linux 6.14), which needs no capability.
pub const PKTMETA_TICKETS_PRIORITY: i32 = 2;

/// The ticket of a datagram without a record. A datagram without a *ticket*, 0, is one that reached
/// its socket before that asked for tickets.
pub const TICKET_ABSENT: u32 = 1;

/// Version of this ABI, in [`Info`] and in the ring's header.
pub const VERSION: u32 = 1;

/// Bytes of one ring slot, a power of two.
pub const SLOT_SIZE: usize = 256;

/// Offset of the record in a slot.
pub const SLOT_RECORD: usize = 16;

/// Offset, in the ring's header, of the byte that is not 0 once the datapath is down.
pub const RING_CLOSED: usize = 16;

/// Most TLV types a host can hand out; types are `1..FIELDS_MAX`.
pub const FIELDS_MAX: usize = 64;

/// `PKTMETA_INFO`: what an application needs to know of the datapath, little-endian `u32`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// [`VERSION`] of the datapath.
    pub version: u32,
    /// Differs between two datapaths on one host, so that what was learnt from one is not used
    /// with the next.
    pub instance: u32,
    /// Slots in the ring, a power of two; slot of a ticket is `ticket % slots`.
    pub slots: u32,
}

impl Info {
    /// Bytes on the wire between kernel and application.
    pub const SIZE: usize = 16;

    /// Reads the bytes that `getsockopt` returned; `None` if they are too few.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.get(..Self::SIZE)?.try_into().ok()?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Self {
            version: word(0),
            instance: word(4),
            slots: word(8),
        })
    }
}
