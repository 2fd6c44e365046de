//! `pktmeta doctor`

use crate::{
    command::{Run, pktmeta, text},
    errors::without_root,
    lab::{Lab, pins},
};
use pktmeta_testkit::{netns::Netns, sandbox::in_sandbox};
use serde_json::Value;
use std::{fs, net::TcpListener, path::Path};

const HOOKS: [&str; 6] = [
    "xdp",
    "tc ingress",
    "cgroup_skb ingress",
    "sockops",
    "getsockopt",
    "setsockopt",
];

#[test]
fn this_host_has_all_that_is_needed_and_doctor_leaves_nothing_behind() {
    in_sandbox(|sandbox| {
        let mut doctor = pktmeta(&Netns::current().unwrap(), &["doctor"]);
        let said = doctor.ran().succeeds();
        for hook in HOOKS {
            let line = format!("ok       hook {hook}: loads (");
            assert!(said.contains(&line), "no {line:?} in {said}");
        }
        assert!(!said.contains("MISSING"), "{said}");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn the_json_lists_each_hook() {
    in_sandbox(|_| {
        let mut doctor = pktmeta(&Netns::current().unwrap(), &["doctor", "--json"]);
        let json: Value = serde_json::from_str(&doctor.ran().succeeds()).unwrap();
        assert_eq!(json["works"], true);
        let checks = json["checks"].as_array().unwrap();
        for hook in HOOKS {
            let name = format!("hook {hook}");
            let check = checks.iter().find(|check| check["name"] == name);
            assert_eq!(check.unwrap()["present"], true, "{json:#}");
        }
    });
}

#[test]
fn doctor_does_not_disturb_a_datapath_that_is_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        lab.pktmeta(&["doctor"]).succeeds();
        lab.assert_works();
    });
}

#[test]
fn without_root_doctor_fails_and_names_the_capabilities() {
    in_sandbox(|_| {
        let ran = without_root(&["doctor"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        for part in [
            "MISSING  capabilities: ",
            "lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF",
            "= run it as root",
        ] {
            assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
        }
        let ran = without_root(&["doctor", "--json"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let json: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(json["works"], false);
    });
}

#[test]
fn what_gets_no_records_on_this_host_is_said_with_what_to_do() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let said = lab.pktmeta(&["doctor"]).succeeds();
        assert!(
            said.contains("ok       reach: services: none is delivered to alone"),
            "{said}"
        );

        let service = sandbox.cgroup().join("web.service");
        fs::create_dir(&service).unwrap();
        lab.pktmeta(&["up", "--cgroup", &text(&service)]).succeeds();
        let (family, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
        let multipath = socket2::Socket::new(family, kind, Some(socket2::Protocol::MPTCP)).unwrap();
        // The kernel counts those that listen or are connected.
        multipath.listen(1).unwrap();
        let said = pktmeta(&Netns::current().unwrap(), &["doctor"])
            .ran()
            .succeeds();
        for part in [
            "lacking  reach: services: records are delivered to the cgroup of a service: ",
            "web.service\n         so that ends when systemd restarts the service",
            "lacking  reach: Multipath TCP: sockets of Multipath TCP in this network namespace: \
             1\n",
            "GODEBUG=multipathtcp=0",
        ] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        drop(multipath);
        lab.pktmeta(&["down"]).succeeds();
        fs::remove_dir(service).unwrap();
    });
}

#[test]
fn a_socket_that_was_passed_on_from_a_cgroup_without_records_is_named() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let [unit, service] = ["web.socket", "web.service"].map(|name| {
            let cgroup = sandbox.cgroup().join(name);
            fs::create_dir(&cgroup).unwrap();
            cgroup
        });
        let enter = |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
        // As systemd does: the socket unit's cgroup makes it, the service's process has it.
        enter(&unit);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        enter(&service);
        let _own = TcpListener::bind("127.0.0.1:0").unwrap();
        lab.pktmeta(&["up", "--cgroup", &text(&service)]).succeeds();
        let doctor = || {
            let mut doctor = pktmeta(&Netns::current().unwrap(), &["doctor"]);
            doctor.ran().succeeds()
        };
        let said = doctor();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let who = format!("{}({})", name.trim_end(), std::process::id());
        let line = format!(
            "lacking  reach: sockets passed on: made in a cgroup without records, and passed on: \
             sockets of {who} of {}\n",
            text(&unit)
        );
        assert!(said.contains(&line), "no {line:?} in {said}");

        lab.pktmeta(&["up", "--cgroup", &text(&unit)]).succeeds();
        let said = doctor();
        let line = "ok       reach: sockets passed on: ";
        assert!(said.contains(line), "no {line:?} in {said}");
        drop(listener);
        enter(sandbox.cgroup());
        lab.down();
    });
}
