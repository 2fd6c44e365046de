//! getsockopt: answers applications.

use crate::{
    hook::{Attach, Counter, Hook, Program, Target, object},
    settings, stores,
};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "getsockopt",
    purpose: "applications cannot ask for records",
    target: Target::Cgroup,
    object: object!("getsockopt"),
    programs: &[Program {
        name: "pktmeta_getsockopt",
        attach: Attach::CgroupGetsockopt,
        budget: 90_000,
    }],
    stores: &[
        stores::CONNECTIONS,
        stores::HISTORIES,
        stores::REGISTRY,
        stores::RING,
        stores::SELECTIONS,
        stores::SENT,
        stores::SENT_TICKETS,
        stores::TICKETS,
        stores::UNKEPT,
    ],
    globals: &[
        settings::RING_SLOTS,
        settings::SENDERS_ALL,
        settings::SENDERS_COUNT,
        settings::SENDERS,
    ],
    produces: &[],
    only_to_produce: false,
    writer: None,
    reads: None,
    counters_map: Some("pktmeta_getsockopt_counters"),
    counters: &[
        Counter::of("answered", "questions that got an answer"),
        Counter::of("refused", "questions without a record, or wrong ones"),
    ],
};
