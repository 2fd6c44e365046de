//! XDP: reserves the area and writes the first fields.

use crate::{
    hook::{Attach, Counter, Hook, Program, Target, Writer, object},
    settings, stores,
};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "xdp",
    purpose: "no packet gets a record",
    target: Target::Interface,
    object: object!("xdp"),
    programs: &[Program {
        name: "pktmeta_xdp_label",
        attach: Attach::Xdp,
        budget: 125_000,
    }],
    stores: &[stores::LABELS, stores::LABEL_HITS, stores::NUMBERS],
    globals: &[settings::LABELS_USED, settings::RAW_IP],
    produces: &["rx_timestamp", "rx_ifindex", "rx_queue", "packet_number"],
    only_to_produce: false,
    writer: Some(Writer::Xdp),
    reads: Some("source address"),
    counters_map: Some("pktmeta_xdp_counters"),
    counters: &[
        Counter::of("packets", "packets seen"),
        Counter::of("records", "packets that got a record with all their fields"),
        Counter::of(
            "labelled",
            "records that got the labels of their source address",
        ),
        Counter::of(
            "unmatched",
            "records without a label: no prefix has their source address",
        ),
        Counter::of(
            "not_ip",
            "records without a label: their packets have no IP source address",
        ),
        Counter::of_loss(
            "foreign",
            "packets with metadata that is no record of this registry: a record took its place",
        ),
        Counter::of_loss(
            "no_area",
            "packets in front of which the driver reserved no area: try --mode generic",
        ),
        Counter::of_loss("no_room", "records that a field did not fit into"),
    ],
};
