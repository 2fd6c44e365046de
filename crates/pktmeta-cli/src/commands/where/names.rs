//! The names of hooks, and of the fates of records, in the table, the page and JSON.

use pktmeta_paths::{Fate, Hook, Seen};

pub(super) fn loses(stops: &[Seen]) -> bool {
    let lost = |seen: &Seen| matches!(seen.fate(), Fate::Gone | Fate::Partly);
    stops.iter().any(lost)
}

pub(super) struct HookName {
    /// In a table that has a column for each host.
    pub(super) short: &'static str,
    pub(super) long: &'static str,
}

pub(super) fn hook(hook: Hook) -> HookName {
    let (short, long) = match hook {
        Hook::Xdp => ("xdp", "xdp"),
        Hook::TcIngress => ("in", "tc ingress"),
        Hook::TcEgress => ("out", "tc egress"),
        Hook::Ring => ("ring", "udp, ring"),
        Hook::Ticket => ("ticket", "udp, ticket"),
        Hook::Syn => ("syn", "tcp, syn"),
        Hook::Segment => ("segment", "tcp, segment"),
    };
    HookName { short, long }
}

pub(super) struct FateName {
    /// Behind the name of a hook.
    pub(super) sign: char,
    pub(super) word: &'static str,
    /// The class of its boxes in the page.
    pub(super) class: &'static str,
}

pub(super) fn fate(fate: Fate) -> FateName {
    let (sign, word, class) = match fate {
        Fate::Intact => ('+', "intact", "intact"),
        Fate::ReadOnly => ('r', "read-only", "only"),
        Fate::Partly => ('~', "partly", "partly"),
        Fate::Gone => ('-', "gone", "gone"),
        Fate::Wrong => ('!', "WRONG", "wrong"),
    };
    FateName { sign, word, class }
}
