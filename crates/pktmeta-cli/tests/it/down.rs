//! `pktmeta down`

use crate::{
    bpf::{self, Foreign},
    command::{Run, pktmeta},
    lab::{ATTACHED, INTERFACE, Lab, pins},
    up::leave_pins,
};
use pktmeta::{TcpMeta, UdpMeta};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{fs, os::fd::AsFd, path::Path};

#[test]
fn down_removes_every_pin_and_detaches_every_program() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        assert_eq!(lab.attached(), ATTACHED);
        let server = lab.udp_server(IpVersion::V4);
        let (stream, _client) = lab.connection(IpVersion::V4, 1);
        let said = lab.down();
        assert!(said.contains("veth-server: detached"), "{said}");
        assert!(said.contains("everything of pktmeta is removed"), "{said}");
        lab.assert_nothing_is_left();

        let client = lab.udp_client(IpVersion::V4, 1);
        client
            .send_to(b"hello", server.local_addr().unwrap())
            .unwrap();
        let meta = server.recv_from_meta(&mut [0; 8]).unwrap().meta;
        for error in [meta.unwrap_err(), stream.packet_meta().unwrap_err()] {
            assert!(matches!(error, pktmeta::Error::Unavailable(_)), "{error:?}");
        }
    });
}

#[test]
fn down_again_finds_nothing() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        lab.down();
        assert!(lab.down().contains("nothing was up"));
        let down = lab.pktmeta(&["down", "--iface", INTERFACE]);
        down.fails(&[INTERFACE, "it is not on that interface", "pktmeta status"]);
        lab.try_up(&[]).succeeds();
        lab.assert_works();
    });
}

#[test]
fn what_is_somebody_elses_stays_and_runs() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let (server, client) = (lab.hosts.server(), lab.hosts.client());
        let (tcx, xdp, skb) = (Foreign::tcx(), Foreign::xdp(), Foreign::cgroup_skb());
        let _links = [
            tcx.attach_to_interface(server, lab.ifindex()),
            xdp.attach_to_interface(client, lab.hosts.client_ifindex()),
            skb.attach_to_cgroup(sandbox.cgroup()),
        ];
        let theirs = sandbox.bpffs().join("theirs");
        fs::create_dir(&theirs).unwrap();
        bpf::pin(bpf::array_map().as_fd(), &theirs.join("map"));
        bpf::pin(tcx.as_fd(), &theirs.join("program"));
        let before = pins(sandbox.bpffs());

        lab.try_up(&[]).succeeds();
        lab.assert_works();
        lab.down();

        assert_eq!(pins(sandbox.bpffs()), before);
        assert_eq!(lab.attached(), [("tcx", 1), ("skb", 1)]);
        assert!(client.run(|| bpf::has_xdp(lab.hosts.client_ifindex())));
        let runs = || [tcx.runs(), xdp.runs(), skb.runs()];
        let old = runs();
        lab.connection(IpVersion::V6, 1);
        for (old, new) in old.iter().zip(runs()) {
            assert!(new > *old, "{old} {new}");
        }
    });
}

#[test]
fn what_a_killed_up_left_is_removed() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        leave_pins(sandbox.bpffs());
        lab.down();
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn an_interface_of_that_index_in_another_namespace_is_not_taken_down() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        assert_eq!(lab.ifindex(), lab.hosts.client_ifindex());
        let down = ["down", "--iface", "veth-client"];
        let ran = pktmeta(lab.hosts.client(), &down).ran();
        ran.fails(&["it is not on that interface"]);
        lab.assert_works();
    });
}
