//! Records that could not be kept are not said to be absent.

use super::{peer::Peer, *};
use crate::{options::get, storage::Storage};
use libbpf_rs::{MapCore, MapHandle};
use libc::{ENOBUFS, ENODATA};
use pktmeta_bpf::Datapath;
use pktmeta_core::abi;

#[test]
fn a_connection_that_there_was_no_memory_for_is_told_so_and_keeps_what_comes_later() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let before = losses(sandbox);
            set_optmem(&lab, "100");
            let client = lab.connect(listener.local_addr().unwrap(), 1);
            let server = accept(&listener);
            say(&client, &server);
            for option in [abi::PKTMETA_RX, abi::PKTMETA_RX_SYN, abi::PKTMETA_RX_FIELDS] {
                assert_eq!(get(&server, option), Err(ENOBUFS), "{option}");
            }
            assert!(matches!(server.opening_meta(), Err(Error::NotKept)));
            let lost = losses(sandbox);
            assert_eq!(lost["unkept"], before["unkept"] + 1);
            assert!(lost["segments_unkept"] > before["segments_unkept"]);
            assert_eq!(lost["opened"], before["opened"]);

            set_optmem(&lab, "131072");
            say(&client, &server);
            assert_labelled(&server.packet_meta().unwrap(), 1);
            assert_eq!(get(&server, abi::PKTMETA_RX_SYN), Err(ENOBUFS));
            assert_eq!(losses(sandbox)["segments_unkept"], lost["segments_unkept"]);
            // Of one that is not labelled, nothing was lost.
            let neighbour = connect(
                lab.hosts.server(),
                lab.server_address(version, 0),
                listener.local_addr().unwrap(),
            );
            let unlabelled = accept(&listener);
            say(&neighbour, &unlabelled);
            for option in [abi::PKTMETA_RX, abi::PKTMETA_RX_SYN] {
                assert_eq!(get(&unlabelled, option), Err(ENODATA), "{option}");
            }
        }
    });
}

#[test]
fn a_connection_whose_syn_was_pushed_out_is_told_so() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let storage = Storage::open(sandbox);
            let syns = storage.map("syns");
            let listener = lab.listen(version);
            let before = losses(sandbox);
            let peer = Peer::connect_after(&lab, &listener, 1, 1000, || forget_all(syns));
            let server = peer.socket();
            assert_eq!(get(server, abi::PKTMETA_RX_SYN), Err(ENOBUFS));
            assert_labelled(&server.packet_meta().unwrap(), 1);
            let after = losses(sandbox);
            let moved = |name| after[name] - before[name];
            let counters = ["syns_unknown", "opened", "absent", "unkept"];
            assert_eq!(counters.map(moved), [1, 0, 0, 0]);
        }
    });
}

fn set_optmem(lab: &Lab, bytes: &str) {
    let path = "/proc/sys/net/core/optmem_max";
    lab.hosts.server().run(|| fs::write(path, bytes).unwrap());
}

fn forget_all(map: &MapHandle) {
    for key in map.keys().collect::<Vec<_>>() {
        map.delete(&key).unwrap();
    }
}

/// The counters of what becomes of connections.
fn losses(sandbox: &Sandbox) -> BTreeMap<&'static str, u64> {
    let status = Datapath::new(sandbox.bpffs()).status().unwrap();
    let hooks = status.into_hooks();
    let counters = hooks.flat_map(|hook| {
        let names = hook.hook.counters.iter().map(|counter| counter.name);
        names.zip(hook.counters).collect::<Vec<_>>()
    });
    counters.collect()
}
