//! Where packets go, and what is done with them.

use crate::{
    forger::Forger,
    kernel::Cell,
    world::{FAR, V4, V6, Version, address},
};
use std::net::IpAddr;

/// Where the packets of a path are sent to, and what is done with them.
pub(crate) struct Route {
    pub(crate) to: Vec<IpAddr>,
    pub(crate) cell: Cell,
    /// Packets are sent from here, or by whom they are made.
    pub(crate) from: Origin,
    /// Connections can be made over it.
    pub(crate) tcp: bool,
}

pub(crate) enum Origin {
    Sender,
    Forger(Forger),
}

impl Route {
    /// From the sender's sockets to addresses of a link's end.
    pub(super) fn to(number: u8, end: u8) -> Self {
        Self::to_addresses(VERSIONS.map(|version| address(number, version, end)).into())
    }

    pub(super) fn to_addresses(to: Vec<IpAddr>) -> Self {
        Self {
            to,
            cell: Cell::default(),
            from: Origin::Sender,
            tcp: true,
        }
    }

    pub(super) fn doing(mut self, change: impl FnOnce(&mut Cell)) -> Self {
        change(&mut self.cell);
        self
    }

    pub(super) fn datagrams_only(mut self) -> Self {
        self.tcp = false;
        self
    }
}

const VERSIONS: [Version; 2] = [V4, V6];

/// The host's own addresses on the first link.
pub(super) fn host() -> Route {
    Route::to(0, FAR)
}
