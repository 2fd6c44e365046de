//! What the line and the page call hooks, and the fates of records.

use pktmeta_paths::{Fate, Hook, Seen};

pub(super) fn loses(stops: &[Seen]) -> bool {
    let lost = |seen: &Seen| matches!(seen.fate(), Fate::Gone | Fate::Partly);
    stops.iter().any(lost)
}

pub(super) fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Xdp => "xdp",
        Hook::TcIngress => "tc ingress",
        Hook::TcEgress => "tc egress",
        Hook::Ring => "udp, ring",
        Hook::Ticket => "udp, ticket",
        Hook::Syn => "tcp, syn",
        Hook::Segment => "tcp, segment",
    }
}

pub(super) fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Intact => "intact",
        Fate::ReadOnly => "read-only",
        Fate::Partly => "partly",
        Fate::Gone => "gone",
        Fate::Wrong => "WRONG",
    }
}
