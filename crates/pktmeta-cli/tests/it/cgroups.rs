//! Deliveries to several cgroups.

use crate::{
    command::text,
    lab::{INTERFACE, Lab, eventually},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::json;
use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[test]
fn each_cgroup_has_a_ring_of_its_own_which_belongs_to_the_owner_of_its_directory() {
    in_sandbox(|sandbox| {
        let [first, second] = cgroups(sandbox.cgroup());
        std::os::unix::fs::chown(&second, Some(1234), Some(5678)).unwrap();
        let lab = Lab::new(sandbox);
        let up = ["up", "--iface", INTERFACE, "--cgroup", &text(&first)];
        lab.pktmeta(&up).succeeds();
        let said = lab.pktmeta(&["up", "--cgroup", &text(&second)]).succeeds();
        for cgroup in [&first, &second] {
            assert!(
                said.contains(&format!("{}: its sockets", text(cgroup))),
                "{said}"
            );
        }
        let status = lab.status().0;
        let paths = [0, 1].map(|at| status["cgroups"][at]["path"].clone());
        assert_eq!(paths, [json!(first), json!(second)]);

        let instances = [(&first, 0, 0), (&second, 1234, 5678)].map(|(cgroup, uid, gid)| {
            let id = fs::metadata(cgroup).unwrap().ino();
            let ring = sandbox.bpffs().join(format!("pktmeta/cgroups/{id}/ring"));
            let ring = fs::metadata(ring).unwrap();
            assert_eq!(
                (ring.uid(), ring.gid(), ring.mode() & 0o777),
                (uid, gid, 0o600)
            );
            let info = pktmeta::info(socket_in(&lab, cgroup)).unwrap();
            assert_eq!(info.cgroup, id);
            info.instance
        });
        assert_ne!(instances[0], instances[1]);
        lab.down();
        enter(sandbox.cgroup());
        lab.assert_nothing_is_left();
    });
}

#[test]
fn a_delivery_ends_alone_and_the_last_one_takes_nothing_with_it_while_an_interface_is_up() {
    in_sandbox(|sandbox| {
        let [first, second] = cgroups(sandbox.cgroup());
        let lab = Lab::new(sandbox);
        lab.pktmeta(&["up", "--cgroup", &text(&first)]).succeeds();
        lab.pktmeta(&["up", "--cgroup", &text(&second)]).succeeds();
        lab.pktmeta(&["up", "--iface", INTERFACE]).succeeds();
        let said = lab.pktmeta(&["down", "--cgroup", &text(&first)]).succeeds();
        assert!(
            said.contains(&format!("{}: detached", text(&first))),
            "{said}"
        );
        let unavailable = pktmeta::info(socket_in(&lab, &first)).unwrap_err();
        assert!(unavailable.is_unavailable(pktmeta::Reason::NoDatapath));
        pktmeta::info(socket_in(&lab, &second)).unwrap();
        lab.pktmeta(&["down", "--cgroup", &text(&first)]).fails(&[
            "end the delivery",
            &text(&first),
            "pktmeta status",
        ]);
        lab.pktmeta(&["down", "--cgroup", &text(&second)])
            .succeeds();
        assert_eq!(lab.status().0["cgroups"], json!([]));
        assert_eq!(lab.status().interfaces().len(), 1);
        lab.pktmeta(&["up", "--cgroup", &text(&second)]).succeeds();
        lab.down();
        enter(sandbox.cgroup());
        lab.assert_nothing_is_left();
    });
}

#[test]
fn cgroups_that_contain_each_other_or_are_there_already_are_refused() {
    in_sandbox(|sandbox| {
        let [first, second] = cgroups(sandbox.cgroup());
        let lab = Lab::new(sandbox);
        lab.pktmeta(&["up", "--cgroup", &text(&first)]).succeeds();
        let inner = first.join("inner");
        fs::create_dir(&inner).unwrap();
        for other in [inner.as_path(), sandbox.cgroup()] {
            lab.pktmeta(&["up", "--cgroup", &text(other)]).fails(&[
                &text(other),
                &text(&first),
                "contains the other",
            ]);
        }
        lab.pktmeta(&["up", "--cgroup", &text(&first)])
            .fails(&["already", "pktmeta status"]);
        // One that is gone is in nobody's way, and shown as gone.
        fs::remove_dir(&inner).unwrap();
        fs::remove_dir(&first).unwrap();
        let table = lab.pktmeta(&["status"]).stdout;
        assert!(table.contains("gone"), "{table}");
        assert!(table.contains("a new one of the same name"), "{table}");
        lab.pktmeta(&["up", "--iface", INTERFACE])
            .fails(&["its cgroup is gone", "--cgroup"]);
        eventually("the kernel lets go of the cgroup", || {
            lab.status().0["cgroups"][0]["hops"][0]["attached"] == false
        });
        lab.pktmeta(&["up", "--cgroup", &text(&second)]).succeeds();
        assert_eq!(lab.status().0["cgroups"].as_array().unwrap().len(), 1);
        lab.down();
    });
}

#[test]
fn who_may_send_is_said_for_each_cgroup() {
    in_sandbox(|sandbox| {
        let cgroups = cgroups(sandbox.cgroup());
        let lab = Lab::new(sandbox);
        for (cgroup, send) in cgroups.iter().zip(["none", "0,1000"]) {
            lab.pktmeta(&["up", "--cgroup", &text(cgroup), "--send", send])
                .succeeds();
        }
        let may = |cgroup| {
            let info = pktmeta::info(socket_in(&lab, cgroup)).unwrap();
            info.features & pktmeta_core::abi::FEATURE_TX != 0
        };
        assert_eq!([may(&cgroups[0]), may(&cgroups[1])], [false, true]);
        lab.pktmeta(&["up", "--iface", INTERFACE, "--send", "root"])
            .is_refused(&["\"root\"", "number"]);
        lab.down();
    });
}

/// Two cgroups beside each other.
fn cgroups(parent: &Path) -> [PathBuf; 2] {
    ["first", "second"].map(|name| {
        let cgroup = parent.join(name);
        fs::create_dir(&cgroup).unwrap();
        cgroup
    })
}

/// A socket belongs to the cgroup in which its maker was when it made it.
fn socket_in(lab: &Lab, cgroup: &Path) -> UdpSocket {
    enter(cgroup);
    lab.plain_udp_server(IpVersion::V4)
}

fn enter(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
}
