//! getsockopt: answers applications.

use super::{Hook, Program, count, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "getsockopt",
    object: object!("getsockopt"),
    programs: &[Program {
        name: "pktmeta_getsockopt",
        attach_type: libbpf_sys::BPF_CGROUP_GETSOCKOPT,
    }],
    counters_map: "answer_counters",
    counters: &[
        count("answered", "questions that got an answer"),
        count("refused", "questions without a record, or wrong ones"),
    ],
    purpose: "applications cannot ask for records",
};
