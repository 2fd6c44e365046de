//! TC ingress: reads the record that XDP began and adds `flow_hash`.

use super::{Hook, Program, count, loss, object};

/// The fields that it produces. Without any of them it is not attached: to run a program there costs
/// every packet something.
pub(crate) const FIELDS: [&str; 1] = ["flow_hash"];

/// The hook.
pub const HOOK: Hook = Hook {
    name: "tc ingress",
    object: object!("tc_ingress"),
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
