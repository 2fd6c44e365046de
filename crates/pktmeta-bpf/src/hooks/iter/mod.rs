//! Iterators: list sockets, those that have storage and those that are open.

use crate::{
    hook::{Attach, Hook, Program, Target, object},
    stores,
};

/// Lists the sockets of a map of socket storage.
pub(crate) const STORED: &str = "pktmeta_list_stored";

/// Lists the sockets among the open files of all processes.
pub(crate) const OPEN: &str = "pktmeta_list_open";

/// The hook.
pub const HOOK: Hook = Hook {
    name: "sockets",
    purpose: "sockets cannot be listed with their records",
    target: Target::Command,
    object: object!("iter"),
    programs: &[
        Program {
            name: STORED,
            attach: Attach::Iterator,
            budget: 1_100,
        },
        Program {
            name: OPEN,
            attach: Attach::Iterator,
            budget: 1_300,
        },
    ],
    stores: &[
        stores::CONNECTIONS,
        stores::SENT,
        stores::SENT_TICKETS,
        stores::TICKETS,
    ],
    globals: &[],
    produces: &[],
    only_to_produce: false,
    writer: None,
    reads: None,
    counters_map: None,
    counters: &[],
};
