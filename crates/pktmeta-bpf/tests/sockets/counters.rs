//! What `status` counts: each thing that happens moves the counters that say so, and no others.

use crate::{
    lab::{Lab, client_address, set_option},
    options::{Host, get, get_at, set, set_at},
    udp::{foreign::passing_xdp, message::Message},
};
use libc::{EINVAL, ENODATA, ENOPROTOOPT, EPERM};
use pktmeta::{Record, UdpMeta};
use pktmeta_bpf::Datapath;
use pktmeta_core::{abi, seal};
use pktmeta_testkit::{
    link::IpVersion,
    packet::Frame,
    prog_run::LiveFrames,
    sandbox::{Sandbox, in_sandbox},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{net::UdpSocket, os::fd::AsFd};

/// The hooks' counters at some time.
pub(crate) struct Counts<'s> {
    sandbox: &'s Sandbox,
    hooks: &'static [&'static str],
    counts: Vec<(&'static str, u64)>,
}

impl<'s> Counts<'s> {
    /// Those of these hooks.
    pub(crate) fn of(sandbox: &'s Sandbox, hooks: &'static [&'static str]) -> Self {
        let status = Datapath::new(sandbox.bpffs()).status().unwrap();
        let chosen = status
            .into_hooks()
            .filter(|it| hooks.contains(&it.hook.name));
        let counts = chosen.flat_map(|it| {
            let names = it.hook.counters.iter().map(|counter| counter.name);
            names.zip(it.counters).collect::<Vec<_>>()
        });
        Self {
            sandbox,
            hooks,
            counts: counts.collect(),
        }
    }

    /// Those that moved since, and by how much.
    pub(crate) fn moved(&self) -> Vec<(&'static str, u64)> {
        let now = Self::of(self.sandbox, self.hooks).counts;
        let pairs = now.into_iter().zip(&self.counts);
        let moved = pairs.map(|((name, after), (_, before))| (name, after - before));
        moved.filter(|&(_, by)| by != 0).collect()
    }
}

#[test]
fn each_datagram_moves_the_one_counter_that_says_what_became_of_it() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let (server, plain) = (lab.udp_server(version), lab.udp_server(version));
            server.enable_packet_meta().unwrap();
            let client = lab.udp_client(version, 1);
            // Over loopback nobody labels.
            let (neighbour, marked) = (lab.udp_server(version), lab.udp_server(version));
            set_option(&marked, libc::SOL_SOCKET, libc::SO_MARK, 7);
            let sent = |from: &UdpSocket, to: &UdpSocket| {
                let before = Counts::of(sandbox, &["cgroup_skb ingress", "sockops"]);
                from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
                Message::receive(to, 16, 0);
                before.moved()
            };
            assert_eq!(sent(&client, &server), [("datagrams", 1)]);
            assert_eq!(sent(&neighbour, &server), [("datagrams_absent", 1)]);
            assert_eq!(sent(&marked, &server), [("datagrams_absent", 1)]);
            for from in [&client, &neighbour, &marked] {
                assert_eq!(sent(from, &plain), []);
            }
        }
    });
}

#[test]
fn each_option_moves_the_one_counter_that_says_what_was_answered() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let done = |call: &dyn Fn()| {
            let before = Counts::of(sandbox, &["getsockopt", "setsockopt"]);
            call();
            before.moved()
        };
        let [class, rule] = ["class", "rule"].map(|name| abi::PKTMETA_TX_FIELD + host.tlv(name));
        let gets = |option, wanted: Option<i32>| {
            done(&|| assert_eq!(get(&udp, option).err(), wanted, "{option}"))
        };
        let sets = |option, value: &[u8], wanted: Option<i32>| {
            done(&|| assert_eq!(set(&udp, option, value).err(), wanted, "{option}"))
        };
        assert_eq!(gets(abi::PKTMETA_INFO, None), [("answered", 1)]);
        assert_eq!(gets(abi::PKTMETA_TX, Some(ENODATA)), [("refused", 1)]);
        assert_eq!(gets(0x600, Some(ENOPROTOOPT)), [("refused", 1)]);
        assert_eq!(sets(class, &[1], None), [("settled", 1)]);
        assert_eq!(sets(rule, &[0; 4], Some(EPERM)), [("not_permitted", 1)]);
        assert_eq!(sets(class, &[1; 2], Some(EINVAL)), [("refused", 1)]);
        assert_eq!(gets(class, None), [("answered", 1)]);
        // What is the kernel's own is nothing of ours.
        let kernels = done(&|| {
            set_option(&udp, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096);
            get_at(&udp, libc::SOL_SOCKET, libc::SO_RCVBUF, 4).unwrap();
            set_at(&udp, abi::SOL_PKTMETA - 1, 1, &[0; 4]).unwrap_err();
        });
        assert_eq!(kernels, []);
    });
}

#[test]
fn each_packet_at_tc_moves_the_counters_that_say_what_became_of_it() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let registry = Datapath::new(sandbox.bpffs()).registry().read().unwrap();
        let secret = registry.secret().unwrap();
        let server = lab.udp_server(IpVersion::V4);
        let passes = passing_xdp();
        let from = client_address(IpVersion::V4, 1, 4000);
        let frame = Frame::new(from, server.local_addr().unwrap());
        let (client, link) = (lab.hosts.client_link(), lab.hosts.server_link());
        let frame = frame.macs(client.mac(), link.mac()).udp(b"hello");
        // The frames have another program's metadata, and meet our hooks from TC on.
        let arrives = |metadata: &[u8]| {
            let before = Counts::of(sandbox, &["tc ingress"]);
            let run = LiveFrames::new(passes.as_fd())
                .packet(&frame)
                .metadata(metadata)
                .ingress_ifindex(lab.hosts.server_ifindex())
                .repeat(1);
            lab.hosts.server().run(|| run.run()).unwrap();
            Message::receive(&server, 16, 0);
            let mut moved = before.moved();
            // What the hosts say to each other meanwhile has a record, and TC's fields.
            moved.retain(|(name, _)| !["packets", "records", "labelled"].contains(name));
            let counts = Counts::of(sandbox, &["tc ingress"]);
            let of = |name| {
                let found =
                    |counts: &Counts<'_>| counts.counts.iter().find(|it| it.0 == name).unwrap().1;
                found(&counts) - found(&before)
            };
            (
                moved,
                of("packets") > 0,
                of("records") > 0,
                of("labelled") > 0,
            )
        };
        let none = Record::new();
        let mut full = vec![b'P', 0, 0x10, seal::RECORD_MAX as u8, 0];
        full.push((seal::RECORD_MAX - 6) as u8);
        full.resize(seal::RECORD_MAX, 0);
        full[1] = seal::AREA_MAX as u8;
        full.extend(secret.seal(seal::AREA_MAX));
        let own = secret.enclose(&none, 24);
        let alone = |name| vec![(name, 1)];
        assert_eq!(arrives(&[]), (alone("absent"), true, false, false));
        assert_eq!(arrives(&[1; 24]), (alone("foreign"), true, false, false));
        assert_eq!(arrives(&full), (alone("no_room"), true, true, false));
        assert_eq!(arrives(&own), (vec![], true, true, true));
        // As tcpdump: the packet is its too, and must not be changed.
        let everything = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let tcpdump = || Socket::new(Domain::PACKET, Type::RAW, Some(everything));
        let _tcpdump = lab.hosts.server().run(tcpdump).unwrap();
        assert_eq!(arrives(&own), (alone("read_only"), true, true, false));
    });
}
