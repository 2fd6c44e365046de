//! Stores, the maps that hold records and labels beside packets: those of `bpf/stores/`, and those
//! of the XDP program.

use crate::settings::Settings;
use pktmeta_core::pins;

/// A map that several programs share, or that outlives the command that made it.
#[derive(Clone, Copy)]
pub(crate) struct Store {
    /// Its name in the programs.
    pub(crate) map: &'static str,
    /// The name of its pin.
    pub(crate) pin: &'static str,
    pub(crate) scope: Scope,
    /// Its number of entries, where the source does not say.
    pub(crate) entries: Option<fn(&Settings) -> u32>,
}

/// The thing that has one such map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// An interface or a cgroup.
    Part,
    /// All sockets: a socket is the same for every cgroup.
    Sockets,
    /// The bpffs. The map stays when the datapath goes.
    Host,
}

impl Store {
    const fn new(map: &'static str, pin: &'static str, scope: Scope) -> Self {
        Self {
            map,
            pin,
            scope,
            entries: None,
        }
    }
}

pub(crate) const CONNECTIONS: Store =
    Store::new("pktmeta_connections", "connections", Scope::Sockets);
pub(crate) const HISTORIES: Store = Store::new("pktmeta_histories", "histories", Scope::Sockets);
pub(crate) const SELECTIONS: Store = Store::new("pktmeta_selections", "selections", Scope::Sockets);
pub(crate) const SENT: Store = Store::new("pktmeta_tx", "pktmeta_tx", Scope::Sockets);
pub(crate) const SENT_TICKETS: Store =
    Store::new("pktmeta_tx_tickets", "pktmeta_tx_tickets", Scope::Sockets);
pub(crate) const SYNS: Store = Store::new("pktmeta_syns", "syns", Scope::Sockets);
pub(crate) const TICKETS: Store = Store::new("pktmeta_tickets", "tickets", Scope::Sockets);
pub(crate) const UNKEPT: Store = Store::new("pktmeta_unkept", "unkept", Scope::Sockets);

/// Its last slot is the header.
pub(crate) const RING: Store = Store {
    entries: Some(|settings| settings.slots + 1),
    ..Store::new("pktmeta_ring", pins::RING, Scope::Part)
};
pub(crate) const ISSUED: Store = Store::new("pktmeta_issued", "issued", Scope::Part);

pub(crate) const LABELS: Store = Store {
    entries: Some(label_entries),
    ..Store::new("pktmeta_labels", "xdp_labels", Scope::Part)
};
pub(crate) const LABEL_HITS: Store = Store {
    entries: Some(label_hit_entries),
    ..Store::new("pktmeta_hits", "xdp_label_hits", Scope::Part)
};
pub(crate) const NUMBERS: Store = Store::new("pktmeta_numbers", "xdp_numbers", Scope::Part);

pub(crate) const REGISTRY: Store = Store::new("pktmeta_registry", pins::REGISTRY, Scope::Host);

/// All stores.
const ALL: [Store; 14] = [
    CONNECTIONS,
    HISTORIES,
    SELECTIONS,
    SENT,
    SENT_TICKETS,
    SYNS,
    TICKETS,
    UNKEPT,
    RING,
    ISSUED,
    LABELS,
    LABEL_HITS,
    NUMBERS,
    REGISTRY,
];

/// The stores of a scope.
pub(crate) fn of(scope: Scope) -> impl Iterator<Item = Store> {
    ALL.into_iter().filter(move |store| store.scope == scope)
}

/// The store that programs call `map`.
#[cfg(test)]
pub(crate) fn of_map(map: &str) -> Option<Store> {
    ALL.into_iter().find(|store| store.map == map)
}

/// Room for prefixes that may come: the kernel allocates entries one by one. A single entry, the
/// least that a map can have, tells the program to look no address up.
fn label_entries(settings: &Settings) -> u32 {
    const MOST: usize = 65536;
    let entries = settings.labels.map_or(1, |labels| labels.max(MOST));
    entries as u32 // each takes memory: there cannot be so many
}

/// Each entry takes eight bytes a CPU, allocated at once: there is room for as many again.
fn label_hit_entries(settings: &Settings) -> u32 {
    const LEAST: usize = 1024;
    let entries = settings.labels.map_or(1, |labels| LEAST.max(2 * labels));
    entries as u32 // as above
}
