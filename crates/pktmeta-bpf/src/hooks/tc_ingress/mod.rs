//! TC ingress: reads the record that XDP began and adds `flow_hash`.

use crate::hook::{Attach, Counter, Hook, Program, Target, Writer, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "tc ingress",
    purpose: "records lack the fields that only TC can know",
    target: Target::Interface,
    object: object!("tc_ingress"),
    programs: &[Program {
        name: "pktmeta_tc_ingress",
        attach: Attach::TcxIngress,
        budget: 29_000,
    }],
    stores: &[],
    globals: &[],
    produces: &["flow_hash"],
    only_to_produce: true,
    writer: Some(Writer::Tc),
    reads: Some("record"),
    counters_map: Some("pktmeta_tc_counters"),
    counters: &[
        Counter::of("packets", "packets seen"),
        Counter::of("records", "packets that came with a record"),
        Counter::of("labelled", "records that got TC's fields"),
        Counter::of("absent", "packets without metadata"),
        Counter::of_loss(
            "foreign",
            "packets with somebody else's metadata, left alone",
        ),
        Counter::of_loss(
            "read_only",
            "packets that were shared and could not be changed; tcpdump shares all",
        ),
        Counter::of_loss("no_room", "records that a field did not fit into"),
    ],
};
