//! cgroup_skb ingress: puts each packet's record where the application can get at it.

use super::{Hook, Program, count, loss, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "cgroup_skb ingress",
    object: object!("cgroup_skb_ingress"),
    programs: &[Program {
        name: "pktmeta_deliver",
        attach_type: libbpf_sys::BPF_CGROUP_INET_INGRESS,
    }],
    counters_map: "deliver_counters",
    counters: &[
        count("datagrams", "datagrams that got a ticket"),
        loss(
            "datagrams_absent",
            "datagrams without a record, for a socket that asked for it",
        ),
        count("segments", "TCP segments whose record the connection keeps"),
        count("segments_absent", "TCP segments without a record"),
        count("syns", "SYNs whose record waits for the connection"),
        count("syns_absent", "SYNs without a record"),
        loss(
            "segments_unkept",
            "TCP segments whose record there was no memory for: see net.core.optmem_max and the memory \
             cgroup of whoever ran `up`",
        ),
    ],
    purpose: "no record reaches a socket",
};
