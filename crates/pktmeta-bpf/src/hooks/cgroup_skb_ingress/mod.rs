//! cgroup_skb ingress: stores each packet's record for the application.

use crate::{
    hook::{Attach, Counter, Hook, Program, Target, object},
    settings, stores,
};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "cgroup_skb ingress",
    purpose: "no record reaches a socket",
    target: Target::Cgroup,
    object: object!("cgroup_skb_ingress"),
    programs: &[Program {
        name: "pktmeta_deliver",
        attach: Attach::CgroupIngress,
        budget: 6_900,
    }],
    stores: &[
        stores::CONNECTIONS,
        stores::HISTORIES,
        stores::ISSUED,
        stores::RING,
        stores::SYNS,
        stores::TICKETS,
        stores::UNKEPT,
    ],
    globals: &[
        settings::RING_SLOTS,
        settings::RING_BITS,
        settings::RING_CPU_BITS,
    ],
    produces: &[],
    only_to_produce: false,
    writer: None,
    reads: Some("record"),
    counters_map: Some("pktmeta_cgroup_skb_counters"),
    counters: &[
        Counter::of("datagrams", "datagrams that got a ticket"),
        Counter::of_loss(
            "datagrams_absent",
            "datagrams without a record, for a socket that asked for it",
        ),
        Counter::of("segments", "TCP segments whose record the connection keeps"),
        Counter::of("segments_absent", "TCP segments without a record"),
        Counter::of("syns", "SYNs whose record waits for the connection"),
        Counter::of("syns_absent", "SYNs without a record"),
        Counter::of_loss(
            "segments_unkept",
            "TCP segments whose record there was no memory for: see net.core.optmem_max and the \
             memory cgroup of whoever ran `up`",
        ),
    ],
};
