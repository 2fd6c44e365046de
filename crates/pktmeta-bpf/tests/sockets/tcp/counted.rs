//! What is counted of connections.

use super::{peer::Peer, *};
use crate::counters::Counts;

const HOOKS: &[&str] = &["cgroup_skb ingress", "sockops"];

#[test]
fn a_connection_moves_the_counters_that_say_what_became_of_its_syns() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let to = listener.local_addr().unwrap();
            let before = Counts::of(sandbox, HOOKS);
            let _client = lab.connect(to, 1);
            let _server = accept(&listener);
            // The client is in the cgroup too; nobody labels what it receives.
            assert_eq!(before.moved(), [("syns", 1), ("opened", 1), ("absent", 1)]);

            let before = Counts::of(sandbox, HOOKS);
            let from = lab.server_address(version, 0);
            let _client = connect(lab.hosts.server(), from, to);
            let _server = accept(&listener);
            assert_eq!(before.moved(), [("syns_absent", 1), ("absent", 2)]);
        }
    });
}

#[test]
fn each_segment_moves_the_one_counter_that_says_what_became_of_it() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let on = pktmeta_core::abi::PKTMETA_RX_HISTORY;
            set_option(&listener, pktmeta_core::abi::SOL_PKTMETA, on, 1);
            let peer = Peer::connect(&lab, &listener, 1, 1000);
            let before = Counts::of(sandbox, HOOKS);
            peer.send(0, 4);
            assert_eq!(before.moved(), [("segments", 1)]);
            let before = Counts::of(sandbox, HOOKS);
            peer.send_unlabelled(4, 4);
            assert_eq!(before.moved(), [("segments_absent", 1)]);
            let before = Counts::of(sandbox, HOOKS);
            peer.send_outside(1 << 30, 4);
            assert_eq!(before.moved(), []);
        }
    });
}
