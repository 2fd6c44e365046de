//! The metadata of a bounded number of peers.

use pktmeta::{Error, PacketMeta};
use std::{collections::HashMap, mem, net::SocketAddr};

type Meta = Result<PacketMeta, Error>;

/// The peers that sent something lately. There are two generations: once the newer is full, it
/// replaces the older, and peers of that one that did not send meanwhile are forgotten.
pub(super) struct Peers {
    young: HashMap<SocketAddr, Peer>,
    old: HashMap<SocketAddr, Peer>,
    /// Peers of one generation.
    capacity: usize,
}

pub(super) struct Peer {
    pub(super) initial: Option<Meta>,
    pub(super) latest: Meta,
}

impl Peers {
    /// The latest `capacity` peers are remembered, one at least, and at most as many more.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            capacity: capacity.max(1),
        }
    }

    pub(super) fn get(&self, address: SocketAddr) -> Option<&Peer> {
        self.young.get(&address).or_else(|| self.old.get(&address))
    }

    /// Remembers the metadata of a datagram, and whether it had an Initial packet.
    pub(super) fn note(&mut self, address: SocketAddr, initial: bool, meta: Meta) {
        if !self.young.contains_key(&address) {
            let before = self.old.remove(&address);
            if self.young.len() >= self.capacity {
                self.old = mem::take(&mut self.young);
            }
            let initial = before.and_then(|peer| peer.initial);
            let latest = meta.clone();
            self.young.insert(address, Peer { initial, latest });
        }
        if let Some(peer) = self.young.get_mut(&address) {
            if initial {
                peer.initial = Some(meta.clone());
            }
            peer.latest = meta;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pktmeta::Reason;

    fn address(peer: u16) -> SocketAddr {
        ([192, 0, 2, 1], peer).into()
    }

    fn nothing() -> Meta {
        Err(Reason::NotEnabled.into())
    }

    #[test]
    fn the_latest_peers_are_remembered_and_never_more_than_twice_as_many() {
        let mut peers = Peers::new(100);
        for peer in 0..1000 {
            peers.note(address(peer), true, nothing());
            for latest in peer.saturating_sub(99)..=peer {
                assert!(peers.get(address(latest)).is_some(), "{latest} at {peer}");
            }
            assert!(peers.young.len() + peers.old.len() <= 200);
        }
        assert!(peers.get(address(0)).is_none());
    }

    #[test]
    fn a_peer_that_goes_on_sending_keeps_its_initial() {
        let mut peers = Peers::new(10);
        peers.note(address(1), true, Err(Error::Overrun));
        for peer in 2..1000 {
            peers.note(address(peer), false, nothing());
            peers.note(address(1), false, nothing());
            let kept = peers.get(address(1)).unwrap();
            assert!(matches!(kept.initial, Some(Err(Error::Overrun))));
            assert!(matches!(kept.latest, Err(Error::Unavailable(_))));
        }
        assert!(peers.get(address(999)).unwrap().initial.is_none());
    }
}
