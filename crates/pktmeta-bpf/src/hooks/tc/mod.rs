//! TC ingress: reads the record that XDP began and adds `flow_hash`.

use super::{Hook, Program, count, loss, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "tc ingress",
    object: object!("tc"),
    programs: &[Program {
        name: "pktmeta_tc_ingress",
        attach_type: libbpf_sys::BPF_TCX_INGRESS,
    }],
    counters_map: "tc_counters",
    counters: &[
        count("packets", "packets seen"),
        count("records", "packets that came with a record"),
        count("labelled", "records that got TC's fields"),
        count("absent", "packets without metadata"),
        loss(
            "foreign",
            "packets with somebody else's metadata, left alone",
        ),
        loss(
            "read_only",
            "packets that were shared and could not be changed; tcpdump shares all",
        ),
        loss("no_room", "records that a field did not fit into"),
    ],
    purpose: "records lack the fields that only TC can know",
};
