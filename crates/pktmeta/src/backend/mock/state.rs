//! The state of sockets that have a mock.

use crate::carrier::Carrier;
use pktmeta_core::Record;
use std::{collections::BTreeMap, net::SocketAddr};

/// The state of sockets that have a mock.
#[derive(Default)]
pub(super) struct Sockets {
    /// By cookie.
    pub(super) states: BTreeMap<u64, State>,
    /// The state that accepted connections begin with, by the listener's address.
    pub(super) listeners: Vec<(SocketAddr, State)>,
}

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) carrier: Option<Carrier>,
    pub(super) history: bool,
    pub(super) tx: Option<Record>,
    /// By slot.
    pub(super) tx_tickets: BTreeMap<u32, (u32, Record)>,
    /// The last that was issued.
    pub(super) ticket: u32,
    /// Until they are read.
    pub(super) arrived: BTreeMap<u32, Answer<Record>>,
}

/// True if a listener at `listener` accepts connections with the local address `local`.
pub(super) fn is_at(listener: SocketAddr, local: SocketAddr) -> bool {
    let (ip, port) = (listener.ip().to_canonical(), listener.port());
    let ip_is = ip.is_unspecified() || ip == local.ip().to_canonical();
    port != 0 && port == local.port() && ip_is
}

pub(super) type Answer<T> = Result<T, Errno>;

pub(super) type Errno = i32;
