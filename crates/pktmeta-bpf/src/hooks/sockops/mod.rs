//! sockops: gives an accepted connection the record of its SYN.

use super::{Hook, Program, count, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "sockops",
    object: object!("sockops"),
    programs: &[Program {
        name: "pktmeta_establish",
        attach_type: libbpf_sys::BPF_CGROUP_SOCK_OPS,
    }],
    counters_map: "establish_counters",
    counters: &[
        count("opened", "accepted connections that got their SYN's record"),
        count("absent", "accepted connections whose SYN had no record"),
    ],
    purpose: "accepted TCP connections do not have their SYN's record",
};
