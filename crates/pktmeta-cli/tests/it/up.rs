//! `pktmeta up`

use crate::{
    bpf::{self, Foreign},
    command::{Run, Scratch, pktmeta, text, up},
    lab::{ATTACHED, INTERFACE, Lab, SCHEMA, Status, pins},
};
use pktmeta::builtin;
use pktmeta_testkit::{
    link::{IpVersion, Link, TwoHosts},
    netns::Netns,
    sandbox::in_sandbox,
};
use std::{
    collections::BTreeSet,
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    time::Duration,
};

#[test]
fn what_up_attaches_outlives_it_and_delivers_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let said = lab.try_up(&[]).succeeds();
        assert!(said.contains("veth-server: labels each packet"), "{said}");
        assert!(said.contains(&text(sandbox.cgroup())), "{said}");
        assert_eq!(lab.attached(), ATTACHED);
        lab.assert_works();
    });
}

#[test]
fn an_interface_that_works_after_the_driver_only_is_labelled_in_generic_mode() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, &["--mode", "generic"]);
        lab.assert_works();
        let link = lab.hosts.server().command("ip").args(["link"]).ran();
        assert!(link.succeeds().contains("xdpgeneric"));
    });
}

#[test]
fn by_default_what_leaves_gro_alone_is_produced_and_other_fields_if_they_are_asked_for() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let all = builtin::NAMES.join(",");
        for (arguments, fields) in [
            (&[][..], "rx_ifindex,rx_queue"),
            (
                &["--produce", "rx_queue,packet_number"],
                "rx_queue,packet_number",
            ),
            (&["--produce", "none"], ""),
            (&Lab::ALL_FIELDS, &all),
        ] {
            let said = lab.try_up(arguments).succeeds();
            let given = arguments.last().copied().unwrap_or(fields);
            let given = format!("fields, of the built-in ones {given}\n");
            assert!(said.contains(&given), "{said}");
            let meta = lab.datagram(IpVersion::V6, 3).unwrap();
            let found: BTreeSet<_> = meta
                .fields()
                .map(|(field, _)| field.name.to_string())
                .collect();
            let wanted = fields.split(',').filter(|field| !field.is_empty());
            let wanted = wanted.chain(["tenant"]).map(String::from);
            assert_eq!(found, wanted.collect());
            lab.down();
            lab.assert_nothing_is_left();
        }
    });
}

#[test]
fn a_second_up_on_the_same_interface_fails_and_the_first_goes_on() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let second = lab.try_up(&[]);
        second.fails(&[INTERFACE, "already", "pktmeta down --iface veth-server"]);
        assert_eq!(lab.attached(), ATTACHED);
        lab.assert_works();
    });
}

#[test]
fn of_two_ups_at_once_on_an_interface_one_succeeds() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let mut both = std::thread::scope(|scope| {
            [(); 2]
                .map(|()| scope.spawn(|| lab.try_up(&[])))
                .map(|up| up.join().unwrap())
        });
        both.sort_by_key(|ran| ran.code);
        let [first, second] = both;
        first.succeeds();
        second.fails(&["already"]);
        lab.assert_works();
    });
}

#[test]
fn ups_at_once_on_two_interfaces_both_succeed() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| client_up(&lab).ran());
            lab.try_up(&[]).succeeds();
            other.join().unwrap().succeeds();
        });
        assert_eq!(lab.status().interfaces().len(), 2);
        lab.assert_works();
    });
}

/// `up` on the other end of the wire, in another network namespace.
fn client_up(lab: &Lab) -> std::process::Command {
    let mut command = up(&lab.sandbox, lab.hosts.client(), TwoHosts::CLIENT_LINK);
    command.args(["--schema", SCHEMA]);
    command
}

#[test]
fn interfaces_of_two_namespaces_share_the_datapath_and_go_down_one_by_one() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        client_up(&lab).ran().succeeds();
        assert_eq!(lab.status().interfaces().len(), 2);
        assert_eq!(
            lab.attached(),
            ATTACHED,
            "one set of programs in the cgroup"
        );

        let (_server, client) = lab.connection(IpVersion::V4, 1);
        let answer = pktmeta::TcpMeta::opening_meta(&client).unwrap();
        let ifindex = answer.get(builtin::RX_IFINDEX);
        assert_eq!(ifindex, Some(lab.hosts.client_ifindex()), "of the SYN-ACK");

        let down = ["down", "--iface", TwoHosts::CLIENT_LINK];
        let said = pktmeta(lab.hosts.client(), &down).ran().succeeds();
        assert!(said.contains("veth-client: detached"), "{said}");
        assert!(said.contains("the rest stays"), "{said}");
        assert!(
            !lab.hosts
                .client()
                .run(|| bpf::has_xdp(lab.hosts.client_ifindex()))
        );
        assert_eq!(lab.status().interfaces().len(), 1);
        lab.assert_works();

        let said = lab.pktmeta(&["down", "--iface", INTERFACE]).succeeds();
        assert!(said.contains("the rest stays"), "{said}");
        let cgroup = text(sandbox.cgroup());
        let said = lab.pktmeta(&["down", "--cgroup", &cgroup]).succeeds();
        assert!(said.contains("everything of pktmeta is removed"), "{said}");
        lab.assert_nothing_is_left();
    });
}

#[test]
fn only_for_a_field_that_tc_produces_is_something_attached_there() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for (field, programs, hops) in [("rx_ifindex", 0, 1), ("flow_hash", 1, 2)] {
            lab.try_up(&["--produce", field]).succeeds();
            let attached = lab.attached();
            let at_tc = attached.iter().filter(|(hook, _)| *hook == "tcx");
            assert_eq!(at_tc.count(), programs, "{attached:?}");
            let meta = lab.datagram(IpVersion::V4, 2).unwrap();
            let hash = meta.get(builtin::FLOW_HASH);
            assert_eq!(hash.is_some(), field == "flow_hash", "{meta:?}");
            let status = lab.status();
            let shown = status.interfaces()[0]["hops"].as_array().unwrap().len();
            assert_eq!(shown, hops, "{status:#?}");
            lab.down();
            lab.assert_nothing_is_left();
        }
    });
}

#[test]
fn an_up_that_fails_leaves_nothing_behind() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let large = scratch.file("large.toml", schema_of(&[64, 64, 64]));
        let file = text(scratch.path());
        for (arguments, parts) in [
            (&["--label", "192.0.2.0/24=colour:7"][..], &["colour"][..]),
            (
                &["--label", "192.0.2.0/24=tenant:x"],
                &["\"x\" is no value"],
            ),
            (
                &["--schema", &large],
                &["reserve the area", "bytes", "bytes[64]"],
            ),
            (&["--slots", "100"], &["100 slots"]),
            (&["--slots", "8388608"], &["8388608 slots"]),
            (
                &["--produce", "rx_queue,colour"],
                &["\"colour\"", "all, none, or some of rx_timestamp,"],
            ),
            (
                &["--produce", "all,rx_queue"],
                &["\"all\"", "all, none, or"],
            ),
            (&["--produce", ""], &["\"\"", "all, none, or"]),
            (
                &["--cgroup", &file],
                &[&file, "not a directory of the cgroup v2"],
            ),
        ] {
            // The last --cgroup counts.
            let mut command = up(sandbox, lab.hosts.server(), INTERFACE);
            if arguments[0] == "--cgroup" {
                command = pktmeta(lab.hosts.server(), &["up", "--iface", INTERFACE]);
            }
            command.args(["--schema", SCHEMA]).args(arguments);
            command.ran().fails(parts);
            lab.assert_nothing_is_left();
        }
        lab.try_up(&[]).succeeds();
        lab.assert_works();
    });
}

/// A schema with a field of each of these sizes.
pub(crate) fn schema_of(sizes: &[u32]) -> String {
    let field = |(n, size): (usize, &u32)| {
        format!("[[field]]\nname = \"field{n}\"\ntype = \"bytes[{size}]\"\n")
    };
    let fields: String = sizes.iter().enumerate().map(field).collect();
    format!("owner = \"large\"\n{fields}")
}

#[test]
fn an_up_that_fails_leaves_the_interfaces_that_are_up_as_they_were() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let before = pins(sandbox.bpffs());
        let scratch = Scratch::new();
        let schema = scratch.file(
            "more.toml",
            "owner = \"more\"\n[[field]]\nname = \"zone\"\ntype = \"u8\"\n",
        );
        let fields = lab.status().0["fields"].clone();
        for arguments in [
            ["--schema", &schema, "--label", "192.0.2.0/24=colour:7"],
            ["--schema", &schema, "--produce", "colour"],
        ] {
            let ran = client_up(&lab).args(arguments).ran();
            ran.fails(&["colour"]);
            assert_eq!(pins(sandbox.bpffs()), before);
            assert_eq!(lab.attached(), ATTACHED);
            assert!(
                !lab.hosts
                    .client()
                    .run(|| bpf::has_xdp(lab.hosts.client_ifindex()))
            );
            assert_eq!(lab.status().0["fields"], fields);
        }
        lab.assert_works();
    });
}

#[test]
fn another_cgroup_than_that_of_the_datapath_is_refused() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let other = sandbox.cgroup().join("other");
        fs::create_dir(&other).unwrap();
        let up = [
            "up",
            "--iface",
            TwoHosts::CLIENT_LINK,
            "--cgroup",
            other.to_str().unwrap(),
        ];
        let ran = pktmeta(lab.hosts.client(), &up).ran();
        ran.fails(&[&text(&other), "delivers to", &text(sandbox.cgroup())]);
        lab.assert_works();
    });
}

#[test]
fn an_interface_with_somebody_elses_xdp_program_is_refused_by_that_programs_name() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let foreign = Foreign::xdp();
        let link = foreign.attach_to_interface(lab.hosts.server(), lab.ifindex());
        let up = lab.try_up(&[]);
        up.fails(&[
            INTERFACE,
            Foreign::NAME,
            "bpftool link detach id",
            "pktmeta up --cgroup",
        ]);
        assert_eq!(lab.attached(), [("xdp", 1)], "theirs");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
        let before = foreign.runs();
        lab.connection(IpVersion::V4, 1);
        assert!(foreign.runs() > before);
        drop(link);
        lab.try_up(&[]).succeeds();
        lab.assert_works();
    });
}

#[test]
fn programs_of_others_at_tc_before_and_after_ours_see_every_packet() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let attach =
            |program: &Foreign| program.attach_to_interface(lab.hosts.server(), lab.ifindex());
        let (before, after) = (Foreign::tcx(), Foreign::tcx());
        let _before = attach(&before);
        lab.try_up(&Lab::ALL_FIELDS).succeeds();
        let _after = attach(&after);
        let runs = || {
            [
                before.runs(),
                after.runs(),
                lab.status().counter("tc ingress", "packets"),
            ]
        };
        let old = runs();
        for _ in 0..10 {
            lab.datagram(IpVersion::V4, 1).unwrap();
        }
        let new = runs();
        for (old, new) in old.iter().zip(new) {
            assert!(new >= old + 10, "{old} {new}");
        }
        lab.assert_works();
    });
}

#[test]
fn what_a_killed_up_left_is_removed_by_the_next_one() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        leave_pins(sandbox.bpffs());
        lab.try_up(&[]).succeeds();
        assert!(!sandbox.bpffs().join("pktmeta-aside").exists());
        lab.assert_works();
    });
}

/// As a killed `up` leaves them.
pub(crate) fn leave_pins(bpffs: &Path) {
    let cgroup = bpffs.join("pktmeta-aside/cgroups/42");
    fs::create_dir_all(&cgroup).unwrap();
    let layout = bpffs.join("pktmeta-aside/layout");
    std::os::unix::fs::symlink("1 (pktmeta 0.1.0)", layout).unwrap();
    let map = bpf::array_map();
    bpf::pin(map.as_fd(), &cgroup.join("ring"));
}

#[test]
fn an_up_that_is_killed_anywhere_can_be_taken_down() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for delay in [0, 5, 10, 20, 40, 60, 80, 100, 150, 200] {
            let mut up = up(sandbox, lab.hosts.server(), INTERFACE);
            let mut up = up.args(Lab::ALL_FIELDS).running();
            std::thread::sleep(Duration::from_millis(delay));
            up.kill().unwrap();
            up.wait().unwrap();
            lab.down();
            lab.assert_nothing_is_left();
        }
    });
}

#[test]
fn an_up_that_was_killed_with_its_programs_attached_does_not_keep_the_next_one_out() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        // The last thing that `up` does is this, the other way round.
        let place = |name| sandbox.bpffs().join(name);
        fs::rename(place("pktmeta"), place("pktmeta-aside")).unwrap();
        assert_eq!(lab.attached(), ATTACHED);
        lab.try_up(&[]).succeeds();
        assert_eq!(lab.attached(), ATTACHED);
        lab.assert_works();
    });
}

#[test]
fn an_interface_that_is_gone_is_shown_as_gone_and_its_index_can_be_used_again() {
    in_sandbox(|sandbox| {
        let netns = Netns::new().unwrap();
        let ip = |arguments: &str| {
            netns
                .command("ip")
                .args(arguments.split(' '))
                .ran()
                .succeeds();
        };
        let add = "link add eth9 index 42 type veth peer name peer9";
        let up = || up(sandbox, &netns, "eth9").ran();
        let status = |arguments: &[&str]| {
            let ran = pktmeta(&netns, arguments).ran();
            assert!(matches!(ran.code, Some(0 | 4)), "{ran:#?}");
            ran.stdout
        };
        ip(add);
        up().succeeds();
        ip("link del eth9");
        let shown = status(&["status"]);
        let gone = format!("interface 42 of network namespace {}, gone", netns.id());
        assert!(shown.contains(&gone), "{shown}");
        let json = status(&["status", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["interfaces"][0]["attached"], false, "{json}");
        assert_eq!(
            json["interfaces"][0]["name"],
            serde_json::Value::Null,
            "{json}"
        );

        ip(add);
        let link = Link::find(&netns, "eth9").unwrap();
        assert_eq!(link.ifindex(), 42);
        up().succeeds();
        assert!(netns.run(|| bpf::has_xdp(42)));
        assert!(!status(&["status"]).contains("gone"));

        ip("link del eth9");
        let said = status(&["down"]);
        assert!(said.contains("gone: detached"), "{said}");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn bpffs_is_mounted_where_it_is_not_for_root_alone_to_write_and_stays_empty() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let bpffs = text(scratch.path());
        lab.try_up(&["--bpffs", &bpffs, "--slots", "100"])
            .fails(&["100 slots"]);
        lab.try_up(&["--bpffs", &bpffs]).succeeds();
        assert!(is_mounted(&bpffs));
        let root = fs::metadata(&bpffs).unwrap();
        assert_eq!((root.uid(), root.mode() & 0o777), (0, 0o755));
        lab.assert_works();
        lab.pktmeta(&["down", "--bpffs", &bpffs]).succeeds();
        assert_eq!(pins(scratch.path()), [] as [&Path; 0]);
        lab.assert_nothing_is_left();
    });
}

fn is_mounted(path: &str) -> bool {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    mounts.contains(&format!(" {path} "))
}

#[test]
fn interfaces_are_named_by_any_of_their_names_and_several_at_once() {
    in_sandbox(|sandbox| {
        const LONG: &str = "uplink-of-the-first-customer-in-rack-7";
        let lab = Lab::new(sandbox);
        let server = lab.hosts.server();
        let name = ["link", "property", "add", "dev", INTERFACE, "altname", LONG];
        server.command("ip").args(name).ran().succeeds();

        // One interface by two names is one too many, and nothing stays.
        let twice = up(sandbox, server, LONG).args(["--iface", INTERFACE]).ran();
        twice.fails(&[INTERFACE, LONG, "name each interface once"]);
        assert_eq!(lab.pktmeta(&["status"]).code, Some(3));

        let both = up(sandbox, server, LONG).args(["--iface", "lo"]).ran();
        let said = both.succeeds();
        for interface in [LONG, "lo"] {
            let line = format!("{interface}: labels each packet with up to ");
            assert!(said.contains(&line), "no {line:?} in {said}");
        }
        let Status(status) = lab.status();
        let names = status["interfaces"].as_array().unwrap().iter();
        let mut names: Vec<_> = names.map(|interface| interface["name"].as_str()).collect();
        names.sort();
        assert_eq!(names, [Some("lo"), Some(INTERFACE)]);
        assert_eq!(lab.pktmeta(&["status"]).code, Some(0));

        let down = lab.pktmeta(&["down", "--iface", LONG]).succeeds();
        assert!(
            down.starts_with(&format!("{INTERFACE}: detached\n")),
            "{down}"
        );
        let unknown = up(sandbox, server, &"x".repeat(200)).ran();
        unknown.fails(&["find interface", "`ip link` lists the interfaces"]);
    });
}
