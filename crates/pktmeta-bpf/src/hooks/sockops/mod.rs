//! sockops: gives a connection the record of the segment that opened it.

use crate::{
    hook::{Attach, Counter, Hook, Program, Target, object},
    stores,
};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "sockops",
    purpose: "TCP connections do not have the record of their SYN or SYN-ACK",
    target: Target::Cgroup,
    object: object!("sockops"),
    programs: &[Program {
        name: "pktmeta_establish",
        attach: Attach::CgroupSockOps,
        budget: 11_500,
    }],
    stores: &[
        stores::CONNECTIONS,
        stores::HISTORIES,
        stores::SYNS,
        stores::UNKEPT,
    ],
    globals: &[],
    produces: &[],
    only_to_produce: false,
    writer: None,
    reads: None,
    counters_map: Some("pktmeta_sockops_counters"),
    counters: &[
        Counter::of(
            "opened",
            "connections that got the record of their SYN or SYN-ACK",
        ),
        Counter::of("absent", "connections whose SYN or SYN-ACK had no record"),
        Counter::of_loss(
            "unkept",
            "connections whose records there was no memory for: see net.core.optmem_max and the \
             memory cgroup of whoever ran `up`",
        ),
        Counter::of_loss(
            "syns_unknown",
            "connections whose SYN came before `up`, or was pushed out by 65536 others",
        ),
    ],
};
