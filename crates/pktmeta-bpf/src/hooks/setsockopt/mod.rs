//! setsockopt: what applications want to know of packets, and what they say of those they send.

use super::{Hook, Program, count, loss, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "setsockopt",
    object: object!("setsockopt"),
    programs: &[Program {
        name: "pktmeta_setsockopt",
        attach_type: libbpf_sys::BPF_CGROUP_SETSOCKOPT,
    }],
    counters_map: "settle_counters",
    counters: &[
        count("settled", "what applications set"),
        loss(
            "not_permitted",
            "what applications may not set: a field without `app` among its writers, or a user without --send",
        ),
        count("refused", "what was wrong with what applications set"),
    ],
    purpose: "applications cannot ask for tickets or label what they send",
};
