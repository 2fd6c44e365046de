//! What other people's programs read at the hooks above TC.

mod observer;
mod said;

use crate::{
    lab::{Lab, TENANT, TRACE, client_address, version_of},
    tally::{Payload, Random},
};
use observer::{Hook, Observer, Sight, put_into};
use pktmeta::SendMeta;
use pktmeta_bpf::{HostRegistry, ProgramStats, Senders};
use pktmeta_core::{Registry, seal::Secret};
use pktmeta_testkit::{
    link::{IpVersion, VethPair},
    netns::Netns,
    packet::Frame,
    sandbox::in_sandbox,
};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

#[test]
fn each_datagram_has_its_own_label_at_every_hook_that_it_comes_by() {
    const DATAGRAMS: u64 = 2000;
    const HOOKS: [Hook; 5] = [
        Hook::TcIngress,
        Hook::CgroupIngress,
        Hook::SocketFilter,
        Hook::SkReuseport,
        Hook::Netfilter,
    ];
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let observer = Observer::new(sandbox, None);
        let netns = lab.hosts.server();
        let _links = [
            observer.on_interface(Hook::TcIngress, lab.hosts.server_link()),
            observer.on_cgroup(Hook::CgroupIngress, sandbox),
            observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V4, NF_INET_LOCAL_IN),
            observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V6, NF_INET_LOCAL_IN),
        ];
        for version in IpVersion::BOTH {
            let server = server_in_a_group(&lab, &observer, version);
            send_as_all(&lab, &server, DATAGRAMS);
            assert_all_right(&observer, &HOOKS, DATAGRAMS, version);
        }
    });
}

#[test]
fn a_flow_dissector_reads_the_label_of_each_packet_whose_flow_it_finds() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        // By their hash, which frames have that no socket of this host sent.
        lab.spread_flows();
        let observer = Observer::new(sandbox, None);
        let _link = observer.on_netns(Hook::FlowDissector, lab.hosts.server());
        for version in IpVersion::BOTH {
            let to = lab.server_address(version, 4000);
            for tenant in Lab::TENANTS.cycle().take(400) {
                let frame = Frame::new(client_address(version, tenant, 4000), to);
                lab.inject_datagram(&frame, b"hello");
            }
            let seen = observer.take(Hook::FlowDissector);
            assert_right(&seen);
            assert_eq!(packets(&seen), 400, "{version:?}: {seen:?}");
        }
    });
}

#[test]
fn each_connection_has_its_own_label_at_every_hook_that_its_segments_come_by() {
    const CONNECTIONS: u32 = 200;
    const HOOKS: [Hook; 7] = [
        Hook::CgroupIngress,
        Hook::SocketFilter,
        Hook::SkReuseport,
        Hook::Netfilter,
        Hook::Sockops,
        Hook::SkSkbParser,
        Hook::SkSkbVerdict,
    ];
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let observer = Observer::new(sandbox, None);
        let netns = lab.hosts.server();
        let _links = [
            observer.on_cgroup(Hook::CgroupIngress, sandbox),
            observer.on_cgroup(Hook::CgroupEgress, sandbox),
            observer.on_cgroup(Hook::Sockops, sandbox),
            observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V4, NF_INET_PRE_ROUTING),
            observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V6, NF_INET_PRE_ROUTING),
        ];
        let sockmap = observer.on_sockmap();
        for version in IpVersion::BOTH {
            let listener = lab.listen_sharing(version);
            observer.on_reuseport_group(Hook::SkReuseport, &listener);
            observer.on_socket(Hook::SocketFilter, &listener);
            let address = listener.local_addr().unwrap();
            for number in 0..CONNECTIONS {
                let tenant = 1 + number % 8;
                let mut client = lab.connect(address, tenant);
                let (mut server, _) = listener.accept().unwrap();
                put_into(&sockmap, tenant, &server);
                client.write_all(&[7; 100]).unwrap();
                server.read_exact(&mut [0; 100]).unwrap();
            }
            assert_all_right(&observer, &HOOKS, CONNECTIONS.into(), version);
            let sent = observer.take(Hook::CgroupEgress);
            assert!(packets(&sent) > 0);
            for (sight, _) in sent {
                let said = (sight.err, sight.value, sight.has_record);
                assert_eq!(
                    said,
                    (-libc::ENODATA, 0, 0),
                    "what is sent was not received"
                );
            }
        }
    });
}

#[test]
fn each_packet_that_is_forwarded_has_its_own_label_at_every_hook_that_it_comes_by() {
    const DATAGRAMS: u64 = 500;
    const HOOKS: [Hook; 6] = [
        Hook::TcEgress,
        Hook::Netfilter,
        Hook::NetfilterForward,
        Hook::LwtIn,
        Hook::LwtOut,
        Hook::LwtXmit,
    ];
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let third = Third::behind(&lab);
        let observer = Observer::new(sandbox, None);
        let netns = lab.hosts.server();
        let _link = observer.on_interface(Hook::TcEgress, third.pair.a());
        let [lwt_in, lwt_out, lwt_xmit] =
            [Hook::LwtIn, Hook::LwtOut, Hook::LwtXmit].map(|hook| observer.pin(hook, sandbox));
        for version in IpVersion::BOTH {
            let _links = [
                observer.on_netfilter(Hook::NetfilterForward, netns, version, NF_INET_FORWARD),
                observer.on_netfilter(Hook::Netfilter, netns, version, NF_INET_POST_ROUTING),
            ];
            let to = third.address(version);
            ip(
                netns,
                &format!(
                    "route add {} encap bpf in pinned {lwt_in} out pinned {lwt_out} xmit pinned \
                     {lwt_xmit} dev {}",
                    to.ip(),
                    third.pair.a().name()
                ),
            );
            let server = third.netns.run(|| UdpSocket::bind(to)).unwrap();
            send_as_all(&lab, &server, DATAGRAMS);
            assert_all_right(&observer, &HOOKS, DATAGRAMS, version);
        }
    });
}

#[test]
fn programs_of_another_registry_or_of_none_read_nobodys_label() {
    const HOOKS: [Hook; 4] = [
        Hook::TcIngress,
        Hook::CgroupIngress,
        Hook::SocketFilter,
        Hook::SkReuseport,
    ];
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let foreign = Observer::new(sandbox, Secret::new(0x1234_5678_9abc));
        let unbound = Observer::of(sandbox, &Registry::new());
        for (observer, err) in [(foreign, libc::ENODATA), (unbound, libc::ENOENT)] {
            let _links = [
                observer.on_interface(Hook::TcIngress, lab.hosts.server_link()),
                observer.on_cgroup(Hook::CgroupIngress, sandbox),
            ];
            for version in IpVersion::BOTH {
                let server = server_in_a_group(&lab, &observer, version);
                send_as_all(&lab, &server, 100);
                for hook in HOOKS {
                    let seen = observer.take(hook);
                    assert!(!seen.is_empty());
                    for (sight, _) in seen {
                        let said = (sight.err, sight.value, sight.has_record);
                        assert_eq!(said, (-err, 0, 0), "{hook:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn where_the_kernel_has_no_structure_of_words_programs_read_the_same_by_a_call() {
    const HOOKS: [Hook; 4] = [
        Hook::CgroupIngress,
        Hook::SocketFilter,
        Hook::SkReuseport,
        Hook::Netfilter,
    ];
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let netns = lab.hosts.server();
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        for observer in [
            Observer::new(sandbox, None),
            Observer::without_words(sandbox),
        ] {
            let _links = [
                observer.on_cgroup(Hook::CgroupIngress, sandbox),
                observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V4, NF_INET_LOCAL_IN),
                observer.on_netfilter(Hook::Netfilter, netns, IpVersion::V6, NF_INET_LOCAL_IN),
            ];
            for version in IpVersion::BOTH {
                let server = server_in_a_group(&lab, &observer, version);
                send_as_all(&lab, &server, 200);
                assert_all_right(&observer, &HOOKS, 200, version);

                for tenant in Lab::TENANTS {
                    let client = lab.udp_client(version, tenant);
                    client
                        .send_to(b"one", server.local_addr().unwrap())
                        .unwrap();
                    let record = observer.last_record().unwrap();
                    assert_eq!(registry.get(&record, TENANT), Some(tenant), "{record:?}");
                }
            }
        }
    });
}

#[test]
fn a_program_at_egress_reads_what_a_packet_came_with_and_what_was_said_of_it() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_for(sandbox, Senders::All);
        let third = Third::behind(&lab);
        let observer = Observer::new(sandbox, None);
        let _link = observer.on_interface(Hook::Egress, third.pair.a());
        for version in IpVersion::BOTH {
            let to = third.address(version);
            let server = third.netns.run(|| UdpSocket::bind(to)).unwrap();
            send_as_all(&lab, &server, 200);
            let own = lab.udp_server(version);
            own.set_packet_meta(&TRACE.with(7)).unwrap();
            for _ in 0..100 {
                own.send_to(b"hello", to).unwrap();
            }

            let seen = observer.take(Hook::Egress);
            assert_right(&seen);
            assert_eq!(packets(&seen), 200, "{version:?}: {seen:?}");
            let said = observer.take_said();
            assert_eq!(said.get(&7), Some(&100), "{version:?}: {said:?}");
            let kinds: Vec<_> = said.keys().copied().collect();
            assert_eq!(kinds, [-i64::from(libc::ENODATA), 7], "{version:?}");
        }
    });
}

/// Most instructions that the verifier may look at for one field: a good third above what it does.
const BUDGETS: [(Hook, u32); 6] = [
    (Hook::TcIngress, 13_500),
    (Hook::CgroupIngress, 13_500),
    (Hook::SkReuseport, 13_500),
    (Hook::Sockops, 13_500),
    (Hook::Netfilter, 13_500),
    (Hook::FlowDissector, 13_500),
];

#[test]
fn every_reader_stays_within_its_instruction_budget() {
    in_sandbox(|sandbox| {
        let _lab = Lab::up(sandbox);
        let observer = Observer::new(sandbox, None);
        for (hook, budget) in BUDGETS {
            let stats = ProgramStats::of(observer.program(hook)).unwrap();
            let instructions = stats.verified_instructions;
            println!("{hook:?}: {instructions} of {budget}");
            assert!(instructions <= budget, "{hook:?}: {stats:?}");
            assert!(
                instructions * 3 > budget,
                "{hook:?}: lower its budget, {stats:?}"
            );
        }
    });
}

const NF_INET_PRE_ROUTING: i32 = 0;
const NF_INET_LOCAL_IN: i32 = 1;
const NF_INET_FORWARD: i32 = 2;
const NF_INET_POST_ROUTING: i32 = 4;

/// A host that the lab's client reaches through its server.
struct Third {
    netns: Netns,
    pair: VethPair,
}

impl Third {
    fn behind(lab: &Lab) -> Self {
        let (router, netns) = (lab.hosts.server(), Netns::new().unwrap());
        let pair = VethPair::new(router, "third", &netns, "router").unwrap();
        for (link, host) in [(pair.a(), 1), (pair.b(), 2)] {
            for version in IpVersion::BOTH {
                let length = if version == IpVersion::V4 { 24 } else { 64 };
                link.add_address(third_address(version, host), length)
                    .unwrap();
            }
            link.set_up().unwrap();
        }
        pair.wait_until_ready(Duration::from_secs(10)).unwrap();
        // Else the kernel holds a clone of a packet while it asks for its neighbour (neigh_probe),
        // and may copy the packet meanwhile, which then has no metadata.
        for (link, other, host) in [(pair.a(), pair.b(), 2), (pair.b(), pair.a(), 1)] {
            for version in IpVersion::BOTH {
                let neighbour = third_address(version, host);
                link.add_neighbour(neighbour, other.mac()).unwrap();
            }
        }
        for name in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            let mut sysctl = router.command("sysctl");
            assert!(
                sysctl
                    .args(["-qw", &format!("{name}=1")])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        for version in IpVersion::BOTH {
            let net = if version == IpVersion::V4 {
                "198.51.100.0/24"
            } else {
                "2001:db8:1::/64"
            };
            let router = lab.hosts.server_ip(version);
            ip(lab.hosts.client(), &format!("route add {net} via {router}"));
        }
        Self { netns, pair }
    }

    fn address(&self, version: IpVersion) -> SocketAddr {
        (third_address(version, 2), 4000).into()
    }
}

fn third_address(version: IpVersion, host: u8) -> IpAddr {
    match version {
        IpVersion::V4 => [198, 51, 100, host].into(),
        IpVersion::V6 => [0x2001, 0xdb8, 1, 0, 0, 0, 0, host.into()].into(),
    }
}

#[track_caller]
fn ip(netns: &Netns, arguments: &str) {
    let mut ip = netns.command("ip");
    let output = ip.args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Sends so many datagrams, each as a tenant that nobody foresees.
fn send_as_all(lab: &Lab, server: &UdpSocket, datagrams: u64) {
    let to = server.local_addr().unwrap();
    let clients: Vec<_> = Lab::TENANTS
        .map(|tenant| (tenant, lab.udp_client(version_of(to), tenant)))
        .collect();
    let mut random = Random::new(1);
    for number in 0..datagrams {
        let (tenant, client) = random.choose(&clients);
        let payload = Payload::new(*tenant, *tenant, number);
        client.send_to(&payload.to_bytes(), to).unwrap();
    }
}

/// How many packets of tenants a program saw.
fn packets(seen: &[(Sight, u64)]) -> u64 {
    let tenants = seen.iter().filter(|(sight, _)| sight.owner != 0);
    tenants.map(|(_, packets)| packets).sum()
}

/// A server alone in its group, whose filter and choice of a socket are observed.
fn server_in_a_group(lab: &Lab, observer: &Observer, version: IpVersion) -> UdpSocket {
    let address = lab.server_address(version, 0);
    let server = lab.udp_server_at(address, |socket| socket.set_reuse_port(true));
    observer.on_reuseport_group(Hook::SkReuseport, &server);
    observer.on_socket(Hook::SocketFilter, &server);
    server
}

/// At each of these hooks at least so many packets of tenants came by, each with its label.
#[track_caller]
fn assert_all_right(observer: &Observer, hooks: &[Hook], least: u64, version: IpVersion) {
    for &hook in hooks {
        let seen = observer.take(hook);
        assert_right(&seen);
        let all = packets(&seen) >= least;
        assert!(all, "{hook:?} of {version:?}: {seen:?}");
    }
}

/// Every packet of a tenant has its label, and nobody else's has one.
#[track_caller]
fn assert_right(seen: &[(Sight, u64)]) {
    for (sight, _) in seen {
        let right = match (sight.owner, sight.has_record) {
            (0, 0) => (-libc::ENODATA, 0),
            (0, _) => (-libc::ENOENT, 0),
            (tenant, 1) => (0, tenant),
            _ => panic!("a tenant's packet has no record: {seen:?}"),
        };
        assert_eq!((sight.err, sight.value), right, "{seen:?}");
    }
}
