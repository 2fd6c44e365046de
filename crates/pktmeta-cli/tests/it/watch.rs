//! `pktmeta watch`

use crate::{
    command::{PKTMETA, Run, Running, pktmeta, text},
    lab::{Lab, eventually},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    io::{BufRead, BufReader},
    process::Command,
};

#[test]
fn connections_of_programs_that_run_already_are_logged_until_it_is_interrupted() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (cgroup, pid) = (text(sandbox.cgroup()), std::process::id().to_string());
        for (what, version) in [
            (["--cgroup", &cgroup], IpVersion::V4),
            (["--pid", &pid], IpVersion::V6),
        ] {
            let listener = lab.listen(version);
            let before = lab.attached();
            let mut watch = pktmeta(lab.hosts.client(), &[&["watch"], &what[..]].concat());
            let mut watch = watch.running();
            wait_for_watch(&lab, &before);
            for tenant in Lab::TENANTS {
                lab.connect(&listener, tenant);
            }
            watch.signal(libc::SIGINT);
            let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
            let lines: Vec<_> = lines.map(Result::unwrap).collect();
            assert_eq!(watch.wait().unwrap().code(), Some(0));
            // The client's end is in the cgroup too.
            let accepted = lines.iter().filter(|line| line.contains(" tcp accepted "));
            let tenants = accepted.map(|line| {
                let (_, tenant) = line.split_once(" tenant=").unwrap();
                tenant.parse::<u32>().unwrap()
            });
            assert!(tenants.eq(Lab::TENANTS), "{lines:#?}");
            assert_eq!(lab.attached(), before);
        }
    });
}

#[test]
fn a_watch_whose_reader_has_seen_enough_ends() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = lab.listen(IpVersion::V4);
        let cgroup = text(sandbox.cgroup());
        let before = lab.attached();
        let mut watch = pktmeta(
            lab.hosts.server(),
            &["watch", "--json", "--cgroup", &cgroup],
        );
        let mut watch = watch.running();
        wait_for_watch(&lab, &before);
        lab.connect(&listener, 1);
        drop(Running::wait_for("accepted", watch.stdout.take().unwrap()));
        lab.connect(&listener, 2);
        assert_eq!(watch.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn a_watch_of_nothing_is_refused() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let cgroup = text(sandbox.cgroup());
        let nothing_up = lab.pktmeta(&["watch", "--cgroup", &cgroup]);
        nothing_up.fails(&["nothing is up", "`pktmeta up --iface IF` starts it"]);
        lab.try_up(&[]).succeeds();
        let no_process = lab.pktmeta(&["watch", "--pid", "4000000000"]);
        no_process.fails(&["find the cgroup of process 4000000000", "No such file"]);
        lab.pktmeta(&["watch", "--cgroup", "/tmp"])
            .fails(&["open cgroup /tmp"]);
        for arguments in [&["watch"][..], &["watch", "--pid", "1", "--cgroup", "/tmp"]] {
            assert_eq!(Command::new(PKTMETA).args(arguments).ran().code, Some(2));
        }
    });
}

/// Waits until both of its programs are attached.
fn wait_for_watch(lab: &Lab, before: &[(&str, u32)]) {
    let count = |attached: &[(&str, u32)]| attached.iter().map(|(_, count)| count).sum::<u32>();
    eventually("it watches", || count(&lab.attached()) == count(before) + 2);
}
