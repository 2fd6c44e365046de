//! `pktmeta status`

use crate::{
    command::{Run, pktmeta, text},
    lab::{INTERFACE, Lab, Status},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::json;

#[test]
fn status_says_that_nothing_is_up_in_the_same_shape_and_by_its_exit_code() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let ran = lab.pktmeta(&["status"]);
        assert_eq!(ran.code, Some(3), "{ran:#?}");
        let said = ran.stdout;
        assert!(said.contains("`pktmeta up --iface IF` starts it"), "{said}");
        let Status(down) = lab.status();
        assert_eq!(down["up"], false);

        lab.try_up(&[]).succeeds();
        assert_eq!(lab.pktmeta(&["status"]).code, Some(0));
        let Status(up) = lab.status();
        assert_eq!(up["up"], true);
        let keys = |status: &serde_json::Value| -> Vec<_> {
            status.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&up), keys(&down));
        for list in ["interfaces", "cgroups", "fields"] {
            assert_eq!(down[list], json!([]), "{down:#}");
        }
    });
}

#[test]
fn status_shows_the_interface_the_cgroup_every_hop_and_the_fields() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, &["--slots", "128", "--produce", "all"]);
        let Status(status) = lab.status();
        assert_eq!(status["up"], true);
        let cgroup = &status["cgroups"][0];
        assert_eq!(cgroup["slots"], 128);
        let each = cgroup["cpu_slots"].as_u64().unwrap();
        assert!(each.is_power_of_two() && each <= 128, "{each}");
        let said = lab.pktmeta(&["status"]).stdout;
        let slots = format!("ring of 128 slots, {each} for what one CPU receives");
        assert!(said.contains(&slots), "{said}");
        assert_eq!(cgroup["path"], text(sandbox.cgroup()));
        let interface = &status["interfaces"][0];
        assert_eq!(interface["name"], INTERFACE);
        assert_eq!(interface["ifindex"], lab.ifindex());
        assert_eq!(interface["netns"], lab.hosts.server().id());
        assert_eq!(interface["attached"], true);
        assert_eq!(interface["mode"], "native");
        assert_eq!(interface["produces"].as_array().unwrap().len(), 5);
        let hops = |hops: &serde_json::Value| -> Vec<_> {
            let hops = hops.as_array().unwrap();
            hops.iter()
                .map(|hop| (hop["hop"].clone(), hop["attached"].clone()))
                .collect()
        };
        let all = |names: &[&str]| -> Vec<_> {
            names
                .iter()
                .map(|&name| (name.into(), true.into()))
                .collect()
        };
        assert_eq!(hops(&interface["hops"]), all(&["xdp", "tc ingress"]));
        assert_eq!(
            hops(&cgroup["hops"]),
            all(&["cgroup_skb ingress", "sockops", "getsockopt", "setsockopt"])
        );
        let tenant = json!({ "name": "tenant", "owner": "edge", "type": "u32", "number": 6 });
        assert!(
            status["fields"].as_array().unwrap().contains(&tenant),
            "{status:#}"
        );

        let table = lab.pktmeta(&["status"]).succeeds();
        for part in [
            INTERFACE,
            &text(sandbox.cgroup()),
            "tc ingress",
            "tenant",
            "labelled",
        ] {
            assert!(table.contains(part), "no {part} in:\n{table}");
        }
    });
}

#[test]
fn the_mode_and_what_is_produced_are_those_that_up_was_told() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for (mode, produce, fields) in [
            (
                "generic",
                "flow_hash,rx_queue",
                json!(["flow_hash", "rx_queue"]),
            ),
            ("native", "none", json!([])),
        ] {
            lab.try_up(&["--mode", mode, "--produce", produce])
                .succeeds();
            let Status(status) = lab.status();
            let interface = &status["interfaces"][0];
            assert_eq!(interface["mode"], mode, "{interface:#}");
            let mut produces = interface["produces"].clone();
            let names = produces.as_array_mut().unwrap();
            names.sort_by_key(|name| name.to_string());
            assert_eq!(produces, fields);
            let table = lab.pktmeta(&["status"]).succeeds();
            assert!(table.contains(&format!("  mode {mode}\n")), "{table}");
            lab.down();
        }
    });
}

#[test]
fn an_interface_of_another_namespace_is_shown_by_its_number() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let table = pktmeta(lab.hosts.client(), &["status"]).ran().succeeds();
        let index = lab.ifindex();
        let id = lab.hosts.server().id();
        let place = format!("interface {index} of network namespace {id}");
        assert!(table.contains(&place) && !table.contains("gone"), "{table}");
    });
}

#[test]
fn counters_move_with_traffic() {
    in_sandbox(|sandbox| {
        const COUNTERS: [(&str, &str); 9] = [
            ("xdp", "packets"),
            ("xdp", "records"),
            ("xdp", "labelled"),
            ("tc ingress", "packets"),
            ("tc ingress", "records"),
            ("tc ingress", "labelled"),
            ("cgroup_skb ingress", "datagrams"),
            ("cgroup_skb ingress", "segments"),
            ("getsockopt", "answered"),
        ];
        const ONCE: [(&str, &str); 3] = [
            ("cgroup_skb ingress", "syns"),
            ("sockops", "opened"),
            ("cgroup_skb ingress", "syns_absent"),
        ];
        let lab = Lab::up_with(sandbox, &Lab::ALL_FIELDS);
        let before = lab.status();
        for tenant in Lab::TENANTS {
            lab.datagram(IpVersion::V4, tenant).unwrap();
            lab.datagram(IpVersion::V6, tenant).unwrap();
        }
        lab.connection(IpVersion::V4, 1);
        let after = lab.status();
        let moved = |(hop, name)| after.counter(hop, name) - before.counter(hop, name);
        for counter in COUNTERS {
            assert!(moved(counter) > 0, "{counter:?} in {after:#?}");
        }
        assert_eq!(moved(("cgroup_skb ingress", "datagrams")), 8);
        assert_eq!(ONCE.map(moved), [1, 1, 0]);
        let losses = [("xdp", "foreign"), ("xdp", "no_area"), ("xdp", "no_room")];
        assert_eq!(losses.map(moved), [0; 3]);
    });
}

#[test]
fn status_says_which_users_may_send_records() {
    in_sandbox(|sandbox| {
        for (send, said, json) in [
            ("all", "all users", json!("all")),
            ("none", "nobody", json!([])),
            ("1000,1001", "users 1000, 1001", json!([1000, 1001])),
        ] {
            let lab = Lab::up_with(sandbox, &["--send", send]);
            let line = format!("\n  may send records: {said}\n");
            let printed = lab.pktmeta(&["status"]).stdout;
            assert!(printed.contains(&line), "no {line:?} in {printed}");
            let Status(status) = lab.status();
            assert_eq!(status["cgroups"][0]["send"], json);
            lab.pktmeta(&["down"]).succeeds();
        }
    });
}
