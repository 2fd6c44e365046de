//! getsockopt and setsockopt: answer applications at `SOL_PKTMETA`.

use super::{Hook, Program, count, object};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "sockopt",
    object: object!("sockopt"),
    programs: &[
        Program {
            name: "pktmeta_get",
            attach_type: libbpf_sys::BPF_CGROUP_GETSOCKOPT,
        },
        Program {
            name: "pktmeta_set",
            attach_type: libbpf_sys::BPF_CGROUP_SETSOCKOPT,
        },
    ],
    counters_map: "answer_counters",
    counters: &[
        count("answered", "questions that got an answer"),
        count("refused", "questions without a record, or wrong ones"),
    ],
    purpose: "applications cannot ask for records",
};
