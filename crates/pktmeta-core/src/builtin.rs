//! The fields that pktmeta's own programs write, so that it is useful before anyone writes BPF.

use crate::field::{Field, Timestamp};

/// Schema of these fields.
pub const SCHEMA: &str = include_str!("builtin.toml");

/// Their names.
pub const NAMES: [&str; 5] = [
    RX_TIMESTAMP.name(),
    RX_IFINDEX.name(),
    RX_QUEUE.name(),
    PACKET_NUMBER.name(),
    FLOW_HASH.name(),
];

/// When XDP saw the packet: `CLOCK_MONOTONIC`.
pub const RX_TIMESTAMP: Field<Timestamp> = Field::new("rx_timestamp");

/// Index of the interface whose XDP program saw the packet.
pub const RX_IFINDEX: Field<u32> = Field::new("rx_ifindex");

/// Receive queue of that interface.
pub const RX_QUEUE: Field<u16> = Field::new("rx_queue");

/// Number of the packet among those that the interface has received, from 1.
pub const PACKET_NUMBER: Field<u64> = Field::new("packet_number");

/// The kernel's hash of the packet's flow (`skb->hash`), written at TC ingress.
pub const FLOW_HASH: Field<u32> = Field::new("flow_hash");
