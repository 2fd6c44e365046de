//! `pktmeta watch`

use crate::{
    bind::{compile, probe_schema, tool},
    command::{PKTMETA, Run, Running, Scratch, pktmeta, text},
    lab::{INTERFACE, Lab, eventually},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::Command,
    time::Duration,
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

/// The tenant's number is that of another field then.
#[test]
fn a_watch_goes_on_by_name_with_a_datapath_that_has_other_numbers() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let up = |produce| lab.try_up(&["--produce", produce]).succeeds();
        up("rx_queue");
        let tenant = || {
            let listed = lab.pktmeta(&["registry", "list", "--json"]).succeeds();
            let json: Value = serde_json::from_str(&listed).unwrap();
            let fields = json["fields"].as_array().unwrap().iter();
            let named = |number| {
                let is = |field: &&Value| field["number"] == number;
                fields.clone().find(is).map(|field| field["name"].clone())
            };
            (named(json!(2)), named(json!(4)))
        };
        assert_eq!(tenant(), (Some(json!("tenant")), None));
        let listener = lab.listen(IpVersion::V4);
        let cgroup = text(sandbox.cgroup());
        let before = lab.attached();
        let mut watch = pktmeta(lab.hosts.server(), &["watch", "--cgroup", &cgroup]).running();
        wait_for_watch(&lab, &before);
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        // The client's end is in the cgroup too.
        let mut accepted = || {
            let lines = lines.by_ref().map(Result::unwrap);
            lines
                .into_iter()
                .find(|line| line.contains(" accepted "))
                .unwrap()
        };
        let tenant_is = |line: &str, tenant: u32| {
            let is = format!(" tenant={tenant}");
            assert!(line.ends_with(&is) || line.contains(&(is + " ")), "{line}");
        };
        lab.connect(&listener, 1);
        tenant_is(&accepted(), 1);
        lab.down();
        up("rx_queue,rx_ifindex,flow_hash");
        assert_eq!(tenant(), (Some(json!("rx_queue")), Some(json!("tenant"))));
        // Until it watches for the other registry's records, it says that it does not know them.
        let known = loop {
            lab.connect(&listener, 2);
            let line = accepted();
            if !line.ends_with(" unknown: another datapath took over") {
                break line;
            }
        };
        tenant_is(&known, 2);
        assert!(
            known.contains(&format!("rx_ifindex={}", lab.ifindex())),
            "{known}"
        );
        for tenant in Lab::TENANTS {
            lab.connect(&listener, tenant);
            tenant_is(&accepted(), tenant);
        }
        // Once more, without a connection meanwhile: it looks by itself.
        lab.down();
        up("rx_queue");
        std::thread::sleep(Duration::from_millis(2500));
        lab.connect(&listener, 3);
        tenant_is(&accepted(), 3);
    });
}

#[test]
fn records_that_an_xdp_program_of_somebody_else_writes_are_logged() {
    const PROGRAM: &str = r#"
#include <pktmeta/pktmeta.bpf.h>
PKTMETA_FIELD(probe, __u32);

SEC("xdp") int theirs(struct xdp_md *ctx)
{
	pktmeta_set(ctx, probe, 9);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
"#;
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let source = scratch.file("theirs.bpf.c", PROGRAM);
        let object = compile(&source, &scratch.path().join("theirs.bpf.o"));
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        lab.pktmeta(&["bind", &object, "-o", &object, "--schema", &schema])
            .succeeds();
        let xdp = |what: &str| {
            tool(
                lab.hosts.server(),
                &format!("ip link set {INTERFACE} {what}"),
            )
        };
        xdp(&format!("xdp obj {object} sec xdp"));
        let cgroup = text(sandbox.cgroup());
        let watch = ["watch", "--cgroup", &cgroup];
        let both_ways = ["`pktmeta up --iface IF`", "`pktmeta up --cgroup PATH`"];
        lab.pktmeta(&watch).fails(&both_ways);
        lab.pktmeta(&["exec", "--", "true"]).fails(&both_ways);
        lab.try_up(&[])
            .fails(&["\"theirs\"", "xdp off", "keep it", "--cgroup PATH"]);

        lab.pktmeta(&["up", "--cgroup", &cgroup]).succeeds();
        assert_eq!(lab.pktmeta(&["status"]).code, Some(0));
        let before = lab.attached();
        let mut watch = pktmeta(lab.hosts.server(), &watch).running();
        wait_for_watch(&lab, &before);
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let (_server, _client) = lab.connection(IpVersion::V4, 1);
        let accepted = lines.find(|line| line.as_ref().unwrap().contains(" accepted "));
        let accepted = accepted.unwrap().unwrap();
        assert!(accepted.ends_with(" probe=9"), "{accepted}");
        let sockets = lab.pktmeta(&["sockets", "--field", "probe=9"]).succeeds();
        assert!(sockets.contains("probe=9"), "{sockets}");

        let log = text(scratch.path().join("log"));
        let accept = "import socket; socket.create_server(('', 7)).accept()";
        let exec = ["exec", "--log", &log, "--", "python3", "-c", accept];
        let mut exec = pktmeta(lab.hosts.server(), &exec).running();
        let listens = || {
            let listed = lab.pktmeta(&["sockets", "--all", "--port", "7"]).succeeds();
            listed.contains(":7 ")
        };
        eventually("it listens", listens);
        lab.connect_to(lab.server_address(IpVersion::V4, 7), 2);
        assert_eq!(exec.wait().unwrap().code(), Some(0));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.trim_end().ends_with(" probe=9"), "{log}");
        xdp("xdp off");
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
        assert_eq!(watch.wait().unwrap().code(), Some(128 + libc::SIGPIPE));
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
