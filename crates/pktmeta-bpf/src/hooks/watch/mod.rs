//! cgroup_skb ingress and sockops: report each connection and datagram as it arrives.

use crate::hook::{Attach, Counter, Hook, Program, Target, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "watch",
    purpose: "records cannot be seen as they arrive",
    target: Target::Command,
    object: object!("watch"),
    programs: &[
        Program {
            name: "pktmeta_watch_in",
            attach: Attach::CgroupIngress,
            budget: 900,
        },
        Program {
            name: "pktmeta_watch_established",
            attach: Attach::CgroupSockOps,
            budget: 1_300,
        },
    ],
    stores: &[],
    globals: &[],
    produces: &[],
    only_to_produce: false,
    writer: None,
    reads: None,
    counters_map: Some("pktmeta_watch_counters"),
    counters: &[
        Counter::of("events", "connections and datagrams that were told of"),
        Counter::of_loss("lost", "those that came faster than they were read"),
    ],
};
