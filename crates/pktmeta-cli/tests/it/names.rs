//! What the values of enumerations and bits are called: the host knows it, not only schema files.

use crate::{
    command::{Run, Running, Scratch, pktmeta, text},
    lab::{Lab, eventually, tenant_address},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Command,
};

#[test]
fn values_are_shown_by_name_and_found_by_name_wherever_records_are() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let path = schema(&scratch, &zone("lan = 0, wan = 1, dmz = 2"), true);
        lab.try_up(&zones(&path, ["wan", "dmz"])).succeeds();
        let [_first, _second] = [1, 2].map(|tenant| lab.connection(IpVersion::V4, tenant));

        let status = lab.pktmeta(&["status"]).succeeds();
        for part in ["zone:wan", "zone:dmz", "seen:tls|cut"] {
            assert!(status.contains(part), "no {part} in {status}");
        }
        let sockets = lab.pktmeta(&["sockets"]).succeeds();
        for part in ["zone=wan", "zone=dmz", "seen=tls|cut"] {
            assert!(sockets.contains(part), "no {part} in {sockets}");
        }
        // To programs a value is its number.
        for (filter, number) in [("zone=wan", 1), ("zone=2", 2), ("seen=tls|cut", 1)] {
            let listed = lab.pktmeta(&["sockets", "--json", "--field", filter]);
            let listed: Vec<Value> = serde_json::from_str(&listed.succeeds()).unwrap();
            let zones: Vec<_> = listed.iter().map(|it| &it["latest"]["zone"]).collect();
            assert_eq!(zones, [number], "{filter}: {listed:#?}");
        }
        lab.pktmeta(&["sockets", "--field", "zone=wlan"])
            .fails(&["\"wlan\" is no value for zone", "one of lan, wan, dmz"]);
        let hex = lab.pktmeta(&["encode", "zone=dmz"]).succeeds();
        let decoded = lab.pktmeta(&["decode", hex.trim()]).succeeds();
        assert!(decoded.contains("dmz"), "{decoded}");

        let watched = watched(&lab, 1);
        assert!(watched.contains(" zone=wan"), "{watched}");
        let log = text(scratch.path().join("log"));
        let connect = "import socket, sys; socket.create_server(('', 7)).accept()";
        let exec = ["exec", "--log", &log, "--", "python3", "-c", connect];
        let mut exec = pktmeta(lab.hosts.server(), &exec).running();
        let server = lab.server_address(IpVersion::V4, 7);
        let listens = || lab.pktmeta(&["sockets", "--all", "--port", "7"]).succeeds();
        eventually("it listens", || listens().contains(":7 "));
        lab.connect_to(server, 2);
        assert_eq!(exec.wait().unwrap().code(), Some(0));
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains(" zone=dmz"), "{log}");
    });
}

#[test]
fn after_down_and_up_with_another_schema_no_old_name_is_shown() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let shown = |fields: &str, zone| {
            lab.try_up(&zones(&schema(&scratch, fields, false), [zone, zone]))
                .succeeds();
            let _open = lab.connection(IpVersion::V4, 1);
            let said = ["status", "sockets"].map(|command| lab.pktmeta(&[command]).succeeds());
            let watched = watched(&lab, 1);
            lab.down();
            lab.assert_nothing_is_left();
            said.concat() + &watched
        };
        for (fields, zone, name) in [
            (&zone("lan = 0, wan = 1")[..], "wan", "wan"),
            (&zone("office = 0, home = 1"), "home", "home"),
            ("[[field]]\nname = \"zone\"\ntype = \"u8\"\n", "1", "1"),
            (&zone("lan = 0, wan = 1"), "1", "wan"),
        ] {
            let said = shown(fields, zone);
            assert!(said.contains(&format!("zone:{name}")), "{said}");
            for other in ["wan", "home", "1"] {
                let is_shown = said.contains(&format!("zone={other}"));
                assert_eq!(is_shown, other == name, "{other}: {said}");
            }
        }
    });
}

#[test]
fn names_follow_the_schema_that_was_registered_last_while_records_are_shown() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let register = |names: &str| {
            let schema = schema(&scratch, &zone(names), true);
            lab.pktmeta(&["registry", "register", &schema]).succeeds();
        };
        register("lan = 0, wan = 1");
        // Labels know the names of what is registered.
        lab.try_up(&["--label=192.0.2.101=zone:wan"]).succeeds();
        let listener = lab.listen(IpVersion::V4);
        let mut watch = watch(&lab);
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut logged = || {
            lab.connect(&listener, 1);
            let mut lines = lines.by_ref().map(Result::unwrap);
            lines.find(|line| line.contains(" accepted ")).unwrap()
        };
        assert!(logged().contains(" zone=wan"));
        register("lan = 0, uplink = 1");
        // It sees that the names are others when it has logged something, or a second later.
        logged();
        assert!(logged().contains(" zone=uplink"));
        lab.pktmeta(&["registry", "remove", "seen"]).succeeds();
        logged();
        assert!(logged().contains(" zone=uplink"));
        watch.signal(libc::SIGINT);
        watch.wait().unwrap();
        lab.down();
        lab.pktmeta(&["registry", "remove", "zone"]).succeeds();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn an_up_that_fails_leaves_the_names_as_they_were() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let old = schema(&scratch, &zone("lan = 0, wan = 1"), false);
        lab.pktmeta(&["registry", "register", &old]).succeeds();
        let hex = lab.pktmeta(&["encode", "zone=wan"]).succeeds();
        let new = schema(&scratch, &zone("lan = 0, uplink = 1"), false);
        let refused = lab.try_up(&["--schema", &new, "--label=192.0.2.101=zone:wan"]);
        refused.fails(&["\"wan\" is no value", "one of lan, uplink"]);
        let decoded = lab.pktmeta(&["decode", hex.trim()]).succeeds();
        assert!(decoded.contains(" wan"), "{decoded}");
    });
}

#[test]
fn more_names_than_are_kept_are_refused_and_nothing_is_registered() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let large = |owner: &str| {
            let names = (0..30_000).map(|n| format!("{owner}_{n:020} = {n}"));
            let names = names.collect::<Vec<_>>().join(", ");
            let text = format!(
                "owner = \"{owner}\"\n[[field]]\nname = \"{owner}\"\ntype = \"enum32\"\n\
                 names = {{ {names} }}\n"
            );
            scratch.file(&format!("{owner}.toml"), text)
        };
        let [one, two] = ["a", "b"].map(large);
        lab.pktmeta(&["registry", "register", &one, &two])
            .fails(&["names of enumerations and bits have", "shorten them"]);
        lab.assert_nothing_is_left();
        lab.pktmeta(&["registry", "register", &one]).succeeds();
        let hex = lab.pktmeta(&["encode", "a=29999"]).succeeds();
        let decoded = lab.pktmeta(&["decode", hex.trim()]).succeeds();
        assert!(decoded.contains("a_00000000000000029999"), "{decoded}");
    });
}

/// A field `zone` with these names.
fn zone(names: &str) -> String {
    format!("[[field]]\nname = \"zone\"\ntype = \"enum8\"\nnames = {{ {names} }}\n")
}

fn schema(scratch: &Scratch, fields: &str, and_bits: bool) -> String {
    let bits = "[[field]]\nname = \"seen\"\ntype = \"bits16\"\nnames = { tls = 0, cut = 9 }\n";
    let bits = if and_bits { bits } else { "" };
    scratch.file("path.toml", format!("owner = \"path\"\n{fields}{bits}"))
}

/// Arguments of `up` that label the first two tenants.
fn zones<'a>(schema: &'a str, zones: [&str; 2]) -> Vec<&'a str> {
    let mut arguments = vec!["--schema", schema];
    let labels = (1..).zip(zones).map(|(tenant, zone)| {
        let address = tenant_address(IpVersion::V4, tenant);
        // Tests are short; what they leak goes with them.
        &*format!("--label={address}=zone:{zone}").leak()
    });
    arguments.extend(labels);
    if fs::read_to_string(schema).unwrap().contains("seen") {
        arguments.push("--label=192.0.2.101=seen:tls|cut");
    }
    arguments
}

/// What `watch` logs of a connection that this tenant opens.
fn watched(lab: &Lab, tenant: u32) -> String {
    let listener = lab.listen(IpVersion::V4);
    let mut watch = watch(lab);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    lab.connect(&listener, tenant);
    let line = lines.find(|line| line.as_ref().unwrap().contains(" accepted "));
    line.unwrap().unwrap()
}

/// Returns when it is attached.
fn watch(lab: &Lab) -> Running {
    let count = || lab.attached().iter().map(|(_, count)| count).sum::<u32>();
    let before = count();
    let cgroup = text(lab.sandbox.cgroup());
    let mut command: Command = pktmeta(lab.hosts.server(), &["watch", "--cgroup", &cgroup]);
    let watch = command.running();
    eventually("it watches", || count() == before + 2);
    watch
}
