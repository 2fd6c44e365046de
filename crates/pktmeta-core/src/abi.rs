//! Numbers and layouts shared with the BPF programs and with applications in any language.
//!
//! `docs/abi.md` is the contract; `include/pktmeta/abi.h` has the same numbers in C. A test in
//! `pktmeta-bpf` compares the three.

use crate::{
    FieldName, Kind, Record, TlvType,
    registry::{GroMerge, Policy},
};
use alloc::{vec, vec::Vec};

/// Socket option level of all options but those of one datagram or one byte: "PM".
pub const SOL_PKTMETA: i32 = 0x504d;

/// Socket option level whose option *name* is a ticket. A `cgroup/getsockopt` program sees the
/// option's name but not the caller's buffer, so the name is the only way in. `getsockopt`: the
/// record of a datagram that arrived; `setsockopt`: the record of datagrams to be sent.
pub const SOL_PKTMETA_DGRAM: i32 = 0x504e;

/// As [`SOL_PKTMETA_DGRAM`], `getsockopt` only: the selected fields of the record.
pub const SOL_PKTMETA_DGRAM_FIELDS: i32 = 0x504f;

/// Socket option level whose option *name* is the position of a byte in what a TCP connection
/// received, its low 32 bits: the record of the segment that the byte came with.
pub const SOL_PKTMETA_BYTE: i32 = 0x5050;

/// As [`SOL_PKTMETA_BYTE`]: the selected fields of the record.
pub const SOL_PKTMETA_BYTE_FIELDS: i32 = 0x5051;

/// As [`SOL_PKTMETA_DGRAM`], `getsockopt` only: a `u32`, the mark or priority that the ticket took
/// the place of.
pub const SOL_PKTMETA_DGRAM_DISPLACED: i32 = 0x5052;

/// `getsockopt`: a [`Info`] that describes the datapath.
pub const PKTMETA_INFO: i32 = 1;

/// `getsockopt` on a TCP socket: the latest record that arrived on the connection.
pub const PKTMETA_RX: i32 = 2;

/// `getsockopt` on a TCP socket: the record of the segment that opened the connection, the peer's
/// SYN or SYN-ACK.
pub const PKTMETA_RX_SYN: i32 = 3;

/// `getsockopt` and `setsockopt` on a UDP socket: the carrier of its datagrams' tickets, an
/// `i32` that is one of the `PKTMETA_TICKETS_*` values.
pub const PKTMETA_TICKETS: i32 = 4;

/// `getsockopt` and `setsockopt` on a TCP socket: an `i32`, 1 to remember the records of the latest
/// segments for [`SOL_PKTMETA_BYTE`]; on a listener, for the connections that it accepts.
pub const PKTMETA_RX_HISTORY: i32 = 5;

/// `getsockopt` and `setsockopt`: the record of everything that the socket sends; on a listener,
/// the record that accepted connections start with.
pub const PKTMETA_TX: i32 = 6;

/// `getsockopt` and `setsockopt`: the types of the selected fields, a byte each.
pub const PKTMETA_FIELDS: i32 = 7;

/// `getsockopt` on a TCP socket: the selected fields of [`PKTMETA_RX`].
pub const PKTMETA_RX_FIELDS: i32 = 8;

/// `getsockopt` on a TCP socket: the selected fields of [`PKTMETA_RX_SYN`].
pub const PKTMETA_RX_SYN_FIELDS: i32 = 9;

/// `getsockopt`, plus a TLV type: the [`crate::FieldInfo`] of the field with that type, else of the
/// one with the next; `ENODATA` if there is none.
pub const PKTMETA_FIELD_INFO: i32 = 0x100;

/// `getsockopt` on a TCP socket, plus a TLV type: the field's value in [`PKTMETA_RX`].
pub const PKTMETA_RX_FIELD: i32 = 0x200;

/// `getsockopt` on a TCP socket, plus a TLV type: the field's value in [`PKTMETA_RX_SYN`].
pub const PKTMETA_RX_SYN_FIELD: i32 = 0x300;

/// `getsockopt` and `setsockopt`, plus a TLV type: the field's value in [`PKTMETA_TX`].
pub const PKTMETA_TX_FIELD: i32 = 0x400;

/// `setsockopt`, plus a TLV type: deletes the field from [`PKTMETA_TX`].
pub const PKTMETA_TX_DELETE: i32 = 0x500;

/// No tickets (the default).
pub const PKTMETA_TICKETS_OFF: i32 = 0;

/// Tickets replace `skb->mark` on its way to the socket: read them with `SO_RCVMARK`.
pub const PKTMETA_TICKETS_MARK: i32 = 1;

/// Tickets replace `skb->priority` on its way to the socket: read them with `SO_RCVPRIORITY`
/// (Linux 6.14), which needs no capability.
pub const PKTMETA_TICKETS_PRIORITY: i32 = 2;

/// Tickets replace the time of arrival: read them with `SO_TIMESTAMPNS`, in nanoseconds.
pub const PKTMETA_TICKETS_TIMESTAMP: i32 = 3;

/// The ticket of a datagram without a record. The number 0 is no ticket: the datagram reached its
/// socket before the socket asked for tickets.
pub const TICKET_ABSENT: u32 = 1;

/// A ticket of a datagram to be sent has this in the bits of [`TX_TICKET_MASK`]. The application
/// chooses the bits below.
pub const TX_TICKET: u32 = 0x5000_0000;

/// See [`TX_TICKET`].
pub const TX_TICKET_MASK: u32 = 0xff00_0000;

/// A socket remembers the records of so many tickets of datagrams to be sent. A ticket takes the
/// place of another with the same number modulo this.
pub const TX_SLOTS: u32 = 32;

/// The records of so many segments are remembered for [`SOL_PKTMETA_BYTE`].
pub const HISTORY_SEGMENTS: usize = 32;

/// So many fields can be selected with [`PKTMETA_FIELDS`].
pub const SELECTION_MAX: usize = 32;

/// Bytes of each selected field in an answer: type, status (0, or 2 if the record does not have
/// it), size, 5 reserved, and the value at [`VALUE_AT`].
pub const VALUE_SIZE: usize = 72;

/// Offset of the value in the answer for a selected field.
pub const VALUE_AT: usize = 8;

/// Records of TCP connections can be read.
pub const FEATURE_RX_TCP: u32 = 0x01;

/// Records of datagrams can be read.
pub const FEATURE_RX_UDP: u32 = 0x02;

/// [`PKTMETA_RX_HISTORY`] works.
pub const FEATURE_HISTORY: u32 = 0x04;

/// This user may set fields that applications may write.
pub const FEATURE_TX: u32 = 0x08;

/// Version of this ABI, in [`Info`] and in the ring's header.
pub const VERSION: u32 = 1;

/// Bytes of one ring slot, a power of two.
pub const SLOT_SIZE: usize = 256;

/// Offset in a slot of the mark or priority that the ticket took the place of.
pub const SLOT_DISPLACED: usize = 4;

/// Offset of the record in a slot.
pub const SLOT_RECORD: usize = 16;

/// Offset, in the ring's header, of the byte that is not 0 once the datapath is down.
pub const RING_CLOSED: usize = Info::SIZE;

/// Most TLV types a host can hand out; types are `1..FIELDS_MAX`.
pub const FIELDS_MAX: usize = 64;

/// The numbers of `docs/abi.md` by their names there, for code in another language.
#[must_use]
pub fn constants() -> Vec<(&'static str, i64)> {
    let policy = |set: fn(&mut Policy)| {
        let mut policy = Policy::default();
        set(&mut policy);
        i64::from(policy.bits())
    };
    let mut constants = vec![
        ("SOL_PKTMETA", SOL_PKTMETA.into()),
        ("SOL_PKTMETA_DGRAM", SOL_PKTMETA_DGRAM.into()),
        ("SOL_PKTMETA_DGRAM_FIELDS", SOL_PKTMETA_DGRAM_FIELDS.into()),
        ("SOL_PKTMETA_BYTE", SOL_PKTMETA_BYTE.into()),
        ("SOL_PKTMETA_BYTE_FIELDS", SOL_PKTMETA_BYTE_FIELDS.into()),
        (
            "SOL_PKTMETA_DGRAM_DISPLACED",
            SOL_PKTMETA_DGRAM_DISPLACED.into(),
        ),
        ("PKTMETA_VERSION", VERSION.into()),
        ("PKTMETA_INFO", PKTMETA_INFO.into()),
        ("PKTMETA_RX", PKTMETA_RX.into()),
        ("PKTMETA_RX_SYN", PKTMETA_RX_SYN.into()),
        ("PKTMETA_TICKETS", PKTMETA_TICKETS.into()),
        ("PKTMETA_RX_HISTORY", PKTMETA_RX_HISTORY.into()),
        ("PKTMETA_TX", PKTMETA_TX.into()),
        ("PKTMETA_FIELDS", PKTMETA_FIELDS.into()),
        ("PKTMETA_RX_FIELDS", PKTMETA_RX_FIELDS.into()),
        ("PKTMETA_RX_SYN_FIELDS", PKTMETA_RX_SYN_FIELDS.into()),
        ("PKTMETA_FIELD_INFO", PKTMETA_FIELD_INFO.into()),
        ("PKTMETA_RX_FIELD", PKTMETA_RX_FIELD.into()),
        ("PKTMETA_RX_SYN_FIELD", PKTMETA_RX_SYN_FIELD.into()),
        ("PKTMETA_TX_FIELD", PKTMETA_TX_FIELD.into()),
        ("PKTMETA_TX_DELETE", PKTMETA_TX_DELETE.into()),
        ("PKTMETA_TX_TICKET", TX_TICKET.into()),
        ("PKTMETA_TX_TICKET_MASK", TX_TICKET_MASK.into()),
        ("PKTMETA_TX_SLOTS", TX_SLOTS.into()),
        ("PKTMETA_HISTORY_SEGMENTS", HISTORY_SEGMENTS as i64),
        ("PKTMETA_SELECTION_MAX", SELECTION_MAX as i64),
        ("PKTMETA_FEATURE_RX_TCP", FEATURE_RX_TCP.into()),
        ("PKTMETA_FEATURE_RX_UDP", FEATURE_RX_UDP.into()),
        ("PKTMETA_FEATURE_HISTORY", FEATURE_HISTORY.into()),
        ("PKTMETA_FEATURE_TX", FEATURE_TX.into()),
        ("PKTMETA_TICKETS_OFF", PKTMETA_TICKETS_OFF.into()),
        ("PKTMETA_TICKETS_MARK", PKTMETA_TICKETS_MARK.into()),
        ("PKTMETA_TICKETS_PRIORITY", PKTMETA_TICKETS_PRIORITY.into()),
        (
            "PKTMETA_TICKETS_TIMESTAMP",
            PKTMETA_TICKETS_TIMESTAMP.into(),
        ),
        ("PKTMETA_TICKET_ABSENT", TICKET_ABSENT.into()),
        ("PKTMETA_FIELDS_MAX", FIELDS_MAX as i64),
        ("PKTMETA_NAME_SIZE", FieldName::CAPACITY as i64),
        ("PKTMETA_MAGIC_0", Record::MAGIC[0].into()),
        ("PKTMETA_MAGIC_1", Record::MAGIC[1].into()),
        ("PKTMETA_RECORD_VERSION", i64::from(Record::MAGIC[2] >> 4)),
        ("PKTMETA_RECORD_MAX", Record::CAPACITY as i64),
        ("PKTMETA_VALUE_MAX", Kind::BYTES_MAX.into()),
        ("PKTMETA_TAG_TYPE", TlvType::MAX.into()),
    ];
    let mut kinds: Vec<_> = Kind::constants().collect();
    kinds.sort_by_key(|(_, code)| *code);
    constants.extend(
        kinds
            .into_iter()
            .map(|(name, code)| (name, i64::from(code))),
    );
    constants.extend([
        ("PKTMETA_POLICY_HOT", policy(|policy| policy.hot = true)),
        ("PKTMETA_POLICY_WIRE", policy(|policy| policy.wire = true)),
        (
            "PKTMETA_POLICY_XDP",
            policy(|policy| policy.writers.xdp = true),
        ),
        (
            "PKTMETA_POLICY_TC",
            policy(|policy| policy.writers.tc = true),
        ),
        (
            "PKTMETA_POLICY_APP",
            policy(|policy| policy.writers.app = true),
        ),
        (
            "PKTMETA_POLICY_TRUSTED",
            policy(|policy| policy.trusted = true),
        ),
        (
            "PKTMETA_POLICY_GRO",
            policy(|policy| policy.gro = GroMerge::Sum),
        ),
        (
            "PKTMETA_POLICY_DROP_ON_CLONE",
            policy(|policy| policy.drop_on_clone = true),
        ),
        (
            "PKTMETA_POLICY_DROP_ON_NETNS",
            policy(|policy| policy.drop_on_netns = true),
        ),
        ("PKTMETA_POLICY_KEPT", policy(|policy| policy.kept = true)),
        (
            "PKTMETA_POLICY_RETIRED",
            policy(|policy| policy.retired = true),
        ),
    ]);
    constants
}

/// `PKTMETA_INFO`: the description of a datapath, in little-endian integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// [`VERSION`] of the datapath.
    pub version: u32,
    /// Differs between two datapaths on one host, so that an application does not use one's numbers
    /// with the next.
    pub instance: u32,
    /// Slots in the ring, a power of two; slot of a ticket is `ticket % slots`.
    pub slots: u32,
    /// The bits of `FEATURE_*` that this datapath has.
    pub features: u32,
    /// The kernel's number of the cgroup whose sockets it delivers to. It names the ring's pin.
    pub cgroup: u64,
    /// A hash of all fields of the host, which changes when they do. 0 in the ring's header.
    pub schema: u64,
}

impl Info {
    /// Bytes that the kernel hands to an application.
    pub const SIZE: usize = 32;

    /// Of no datapath: [`VERSION`] is never 0.
    pub const NONE: Self = Self {
        version: 0,
        instance: 0,
        slots: 0,
        features: 0,
        cgroup: 0,
        schema: 0,
    };

    /// Reads the bytes that `getsockopt` returned; `None` if they are too few.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.split_first_chunk::<16>()?;
        let (words, _) = words.as_chunks::<4>();
        let (longs, _) = rest.split_first_chunk::<16>()?;
        let (longs, _) = longs.as_chunks::<8>();
        let [version, instance, slots, features] = *words else {
            return None;
        };
        let [cgroup, schema] = *longs else {
            return None;
        };
        Some(Self {
            version: u32::from_le_bytes(version),
            instance: u32::from_le_bytes(instance),
            slots: u32::from_le_bytes(slots),
            features: u32::from_le_bytes(features),
            cgroup: u64::from_le_bytes(cgroup),
            schema: u64::from_le_bytes(schema),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn each_number_of_an_option_is_among_the_constants_once() {
        let constants = constants();
        let by_name: BTreeMap<_, _> = constants.iter().copied().collect();
        assert_eq!(by_name.len(), constants.len());
        let mut options = 0;
        for line in include_str!("abi.rs").lines() {
            let Some((name, value)) = line
                .strip_prefix("pub const ")
                .and_then(|rest| rest.strip_suffix(';')?.split_once(": i32 = "))
            else {
                continue;
            };
            let value = match value.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16).unwrap(),
                None => value.parse().unwrap(),
            };
            assert_eq!(by_name.get(name), Some(&value), "{name}");
            options += 1;
        }
        assert!(options > 20, "{options}");
    }
}
