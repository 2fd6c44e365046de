//! sockops: gives a connection the record of the segment that opened it.

use super::{Hook, Program, count, loss, object};

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
        count(
            "opened",
            "connections that got the record of their SYN or SYN-ACK",
        ),
        count("absent", "connections whose SYN or SYN-ACK had no record"),
        loss(
            "unkept",
            "connections whose records there was no memory for: see net.core.optmem_max and the memory \
             cgroup of whoever ran `up`",
        ),
        loss(
            "syns_unknown",
            "connections whose SYN came before `up`, or was pushed out by 65536 others",
        ),
    ],
    purpose: "TCP connections do not have the record of their SYN or SYN-ACK",
};
