//! setsockopt: takes the records that applications send, and their wishes for received ones.

use crate::{
    hook::{Attach, Counter, Hook, Program, Target, Writer, object},
    settings, stores,
};

/// The hook.
pub const HOOK: Hook = Hook {
    name: "setsockopt",
    purpose: "applications cannot ask for tickets or label what they send",
    target: Target::Cgroup,
    object: object!("setsockopt"),
    programs: &[Program {
        name: "pktmeta_setsockopt",
        attach: Attach::CgroupSetsockopt,
        budget: 180_000,
    }],
    stores: &[
        stores::CONNECTIONS,
        stores::HISTORIES,
        stores::REGISTRY,
        stores::SELECTIONS,
        stores::SENT,
        stores::SENT_TICKETS,
        stores::TICKETS,
    ],
    globals: &[
        settings::SENDERS_ALL,
        settings::SENDERS_COUNT,
        settings::SENDERS,
    ],
    produces: &[],
    only_to_produce: false,
    writer: Some(Writer::App),
    reads: None,
    counters_map: Some("pktmeta_setsockopt_counters"),
    counters: &[
        Counter::of("settled", "what applications set"),
        Counter::of_loss(
            "not_permitted",
            "what applications may not set: a field without `app` among its writers, or a user \
             without --send",
        ),
        Counter::of("refused", "what was wrong with what applications set"),
    ],
};
