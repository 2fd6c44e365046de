//! `pktmeta demo`

use crate::{
    command::{Run, Running, pktmeta},
    lab::{Lab, eventually, pins},
};
use pktmeta_testkit::{netns::Netns, sandbox::Sandbox, sandbox::in_sandbox};
use serde_json::Value;
use std::{fs, io::Read, path::PathBuf, process::Command, time::Duration};

/// The demo as a user starts it, who is in no sandbox.
fn demo(arguments: &[&str]) -> Command {
    let mut demo = pktmeta(&Netns::current().unwrap(), &["demo"]);
    demo.args(arguments).env_remove("PKTMETA_SANDBOX");
    demo
}

/// What a demo could leave behind.
#[derive(Debug, PartialEq)]
struct Traces {
    cgroups: Vec<PathBuf>,
    processes: String,
    network_namespaces: usize,
    mounts: String,
    pins: Vec<PathBuf>,
}

impl Traces {
    fn of(sandbox: &Sandbox) -> Self {
        let netns = Netns::current().unwrap();
        let named = netns.command("ip").arg("netns").ran().succeeds();
        Self {
            cgroups: cgroups_below(sandbox),
            // A network namespace without a name lives as long as a process in it.
            processes: fs::read_to_string(sandbox.cgroup().join("cgroup.procs")).unwrap(),
            network_namespaces: named.matches("pktmeta").count(),
            mounts: fs::read_to_string("/proc/thread-self/mountinfo").unwrap(),
            pins: pins(sandbox.bpffs()),
        }
    }
}

fn cgroups_below(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.cgroup()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn the_demo_finds_every_record_right_and_leaves_nothing_behind() {
    in_sandbox(|sandbox| {
        let before = Traces::of(sandbox);
        let small = ["--datagrams", "2000", "--connections", "20", "--json"];
        let said = demo(&small).ran().succeeds();
        assert_eq!(Traces::of(sandbox), before);

        let json: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        for (part, datagrams, connections) in [
            (&json, 2000, 20),
            (&json["ipv4"], 1000, 10),
            (&json["ipv6"], 1000, 10),
        ] {
            let count = |name: &str| part[name].as_u64().unwrap();
            assert_eq!(count("datagrams"), datagrams, "{json}");
            assert!((1..=datagrams).contains(&count("delivered")), "{json}");
            assert_eq!(count("labelled"), count("delivered"), "{json}");
            assert_eq!(count("mismatched"), 0, "{json}");
            assert_eq!(count("overrun"), 0, "{json}");
            assert_eq!(count("connections"), connections, "{json}");
            assert_eq!(count("connections_mismatched"), 0, "{json}");
        }
    });
}

#[test]
fn the_demo_in_words_shows_the_way_of_a_packet_and_the_tally() {
    in_sandbox(|_| {
        let mut demo = demo(&["--datagrams", "200", "--connections", "4"]);
        let said = demo.ran().succeeds();
        for part in [
            "xdp veth-server",
            "tc ingress veth-server",
            "cgroup_skb ingress",
            "tenant = 2",
            "0 of 204 records were wrong.",
        ] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    });
}

#[test]
fn a_demo_that_is_interrupted_fails_and_leaves_nothing_behind() {
    in_sandbox(|sandbox| {
        let before = Traces::of(sandbox);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            let mut demo = demo(&["--datagrams", "1000000000"]).running();
            // Until it sends datagrams.
            let mut stdout = Running::wait_for("rx_queue = ", demo.stdout.take().unwrap());
            assert_eq!(cgroups_below(sandbox).len(), 1);
            std::thread::sleep(Duration::from_millis(300));
            demo.signal(signal);
            stdout.read_to_end(&mut Vec::new()).unwrap();
            let status = demo.wait().unwrap();
            assert_eq!(status.code(), Some(128 + signal), "as a shell reports it");
            assert_eq!(Traces::of(sandbox), before);
        }
    });
}

#[test]
fn what_a_killed_demo_leaves_is_removed_by_the_next_one() {
    in_sandbox(|sandbox| {
        let before = Traces::of(sandbox);
        let mut killed = demo(&["--datagrams", "1000000000"]).running();
        Running::wait_for("rx_queue = ", killed.stdout.take().unwrap());
        killed.kill().unwrap();
        killed.wait().unwrap();
        // The kernel kills what it had started.
        eventually("nobody is left", || {
            cgroups_below(sandbox).iter().all(|cgroup| {
                fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
            })
        });
        let small = ["--datagrams", "20", "--connections", "2"];
        demo(&small).ran().succeeds();
        assert_eq!(Traces::of(sandbox), before);
    });
}

#[test]
fn a_demo_does_not_start_beside_a_datapath_and_says_what_to_do() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let before = Traces::of(sandbox);
        demo(&[])
            .ran()
            .fails(&["start the demo", "already", "`pktmeta down`"]);
        assert_eq!(Traces::of(sandbox), before);
        lab.assert_works();
    });
}
