//! XDP: reserves the area and writes the first fields.

pub mod labels;

use super::{Hook, Program, count, loss, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "xdp",
    object: object!("xdp"),
    programs: &[Program {
        name: "pktmeta_xdp_label",
        attach_type: libbpf_sys::BPF_XDP,
    }],
    counters_map: "xdp_counters",
    counters: &[
        count("packets", "packets seen"),
        count("labelled", "packets that have all their fields"),
        loss(
            "foreign",
            "packets with somebody else's metadata, left alone",
        ),
        loss(
            "no_area",
            "packets in front of which the driver reserved no area: try --mode generic",
        ),
        loss("no_room", "records that a field did not fit into"),
    ],
    purpose: "no packet gets a record",
};
