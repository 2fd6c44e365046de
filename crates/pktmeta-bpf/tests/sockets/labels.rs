//! Labels that change while packets arrive.

use crate::lab::{Lab, TENANT, client_address};
use pktmeta::UdpMeta;
use pktmeta_bpf::{
    Datapath,
    labels::{Change, Label},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[test]
fn while_labels_are_replaced_every_packet_has_one_of_before_or_of_after() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let datapath = Datapath::new(sandbox.bpffs());
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            let to = server.local_addr().unwrap();
            let client = lab.udp_client(version, 1);
            // The address by itself, or by a prefix around it, among others that come and go.
            let one: Vec<Label> = labels(version, &[("", 11), ("/0", 12)]);
            let other: Vec<Label> = labels(version, &[("/0", 13)]);
            let done = AtomicBool::new(false);
            let mut seen = [0; 2];
            std::thread::scope(|scope| {
                let changes = scope.spawn(|| {
                    for labels in [&one, &other].into_iter().cycle().take(200) {
                        let change = Change::Replace(labels.clone());
                        datapath.change_labels(None, &change).unwrap();
                    }
                    done.store(true, Relaxed);
                });
                datapath
                    .change_labels(None, &Change::Replace(one.clone()))
                    .unwrap();
                while !done.load(Relaxed) {
                    client.send_to(b"hello", to).unwrap();
                    let received = server.recv_from_meta(&mut [0; 16]).unwrap();
                    let tenant = received.meta.unwrap().get(TENANT);
                    match tenant {
                        Some(11) => seen[0] += 1,
                        Some(13) => seen[1] += 1,
                        other => panic!("{other:?} is of neither table"),
                    }
                }
                changes.join().unwrap();
            });
            assert!(seen.iter().all(|&seen| seen > 10), "{seen:?}");
        }
    });
}

#[test]
fn counts_stay_with_prefixes_and_a_label_that_is_wrong_changes_none() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let datapath = Datapath::new(sandbox.bpffs());
        let add = |labels: &[&str]| {
            let labels = labels.iter().map(|label| label.parse().unwrap());
            datapath.change_labels(None, &Change::Add(labels.collect()))
        };
        let server = lab.udp_server(IpVersion::V4);
        server.enable_packet_meta().unwrap();
        let client = lab.udp_client(IpVersion::V4, 1);
        let address = client_address(IpVersion::V4, 1, 0).ip();
        let tenant_of_a_packet = || {
            client.send_to(b"", server.local_addr().unwrap()).unwrap();
            let received = server.recv_from_meta(&mut [0; 16]).unwrap();
            received.meta.unwrap().get(TENANT)
        };
        assert_eq!(tenant_of_a_packet(), Some(1));
        add(&[&format!("{address}=tenant:9"), "203.0.113.0/24=tenant:5"]).unwrap();
        assert_eq!(tenant_of_a_packet(), Some(9));
        let counts = || {
            let status = datapath.status().unwrap();
            let labels = &status.interfaces[0].labels;
            let count = |prefix: &str| {
                let found = labels.iter().find(|label| label.prefix == prefix);
                found.map(|label| label.packets)
            };
            (count(&format!("{address}/32")), count("203.0.113.0/24"))
        };
        assert_eq!(counts(), (Some(2), Some(0)));

        let listed = datapath.labels(None).unwrap();
        let error = add(&["203.0.113.0/24=tenant:6", "203.0.113.1=no_field:1"]).unwrap_err();
        assert!(error.to_string().contains("no_field"), "{error}");
        assert_eq!(datapath.labels(None).unwrap()[0].labels, listed[0].labels);

        let gone = Change::Remove(vec![address.to_string().parse().unwrap()]);
        let changed = datapath.change_labels(None, &gone).unwrap()[0].changed;
        assert_eq!((changed.added, changed.changed, changed.removed), (0, 0, 1));
        assert_eq!(tenant_of_a_packet(), None);
        // Whoever comes next starts at nothing.
        add(&["198.51.100.77=tenant:3", &format!("{address}=tenant:2")]).unwrap();
        assert_eq!(counts(), (Some(0), Some(0)));
    });
}

fn labels(version: IpVersion, tenants: &[(&str, u32)]) -> Vec<Label> {
    let address = client_address(version, 1, 0).ip();
    let any = match version {
        IpVersion::V4 => "0.0.0.0",
        IpVersion::V6 => "::",
    };
    let labels = tenants.iter().map(|(length, tenant)| match *length {
        "" => format!("{address}=tenant:{tenant}"),
        length => format!("{any}{length}=tenant:{tenant}"),
    });
    labels.map(|label| label.parse().unwrap()).collect()
}
