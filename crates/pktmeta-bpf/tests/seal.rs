//! What the kernel's helpers and paths do to records, and what readers make of it: the right
//! values, or no record.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[expect(dead_code, reason = "shared with the tests of fields")]
#[path = "fields/harness.rs"]
mod harness;

use harness::{clang, compile, secret};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{Object, ObjectOptions, hooks};
use pktmeta_core::{Record, Registry, schema::Schema, seal};
use pktmeta_testkit::{
    link::{Link, TwoHosts, VethPair},
    netns::Netns,
    packet::Frame,
    prog_run::{LiveFrames, XdpRun},
    sandbox::in_sandbox,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// The helpers that a TC program has for packets, each with its undoing, and whether without the
/// seal a reader takes what they leave for a record.
const HELPERS: [(&str, Left); 12] = [
    ("untouched", Left::Record),
    ("vlan_once", Left::Record),
    ("vlan_twice", Left::Nothing),
    ("room_1", Left::Nothing),
    ("room_3", Left::Nothing),
    ("room_4", Left::Nothing),
    ("room_8", Left::Nothing),
    ("room_20", Left::Nothing),
    ("room_22", Left::Nothing),
    ("room_100", Left::Nothing),
    ("proto", Left::Nothing),
    ("tail", Left::Nothing),
];

/// What a helper leaves of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Record,
    Nothing,
}

#[test]
fn what_a_helper_moved_or_overwrote_is_no_record_at_any_area_size() {
    in_sandbox(|_| {
        let mut deceived = 0;
        for area in [32, 64, 128, seal::AREA_MAX] {
            let programs = Programs::new(area);
            let hosts = TwoHosts::new().unwrap();
            for (name, left) in HELPERS {
                let seen = programs.run(&hosts, name, &frame(&hosts));
                assert_eq!(seen.refused, 0, "{name} {area}");
                // Some kernels keep what others lose.
                let kept = left == Left::Nothing && seen.right == PACKETS;
                let wanted = match left {
                    Left::Record => seen.right,
                    Left::Nothing if kept => seen.right,
                    Left::Nothing => seen.absent,
                };
                assert_eq!(
                    (wanted, seen.wrong),
                    (PACKETS, 0),
                    "{name} {area}: {seen:?}"
                );
                deceived += seen.deceived;
            }
        }
        assert!(deceived > 0, "nothing was tried that the seal is for");
    });
}

#[test]
fn a_vlan_tag_that_goes_back_inline_leaves_no_record() {
    in_sandbox(|_| {
        for area in [32, 96, seal::AREA_MAX] {
            let programs = Programs::new(area);
            let hosts = TwoHosts::new().unwrap();
            let frame = frame_for(&hosts, TwoHosts::SERVER_V4)
                .vlan(5)
                .udp(&payload());
            let seen = programs.run(&hosts, "inline_tag", &frame);
            let wanted = (PACKETS, 0, 0);
            assert_eq!(
                (seen.absent, seen.wrong, seen.refused),
                wanted,
                "{area}: {seen:?}"
            );
            assert_eq!(seen.deceived, PACKETS, "the kernel keeps what it did not");
        }
    });
}

#[test]
fn a_routed_or_translated_packet_keeps_its_record_up_to_the_last_byte() {
    in_sandbox(|_| {
        for area in [32, 40, seal::AREA_MAX] {
            for rules in [
                "",
                "oifname router-far masquerade",
                "ip daddr 198.51.100.9 dnat to 198.51.100.2",
            ] {
                let programs = Programs::new(area);
                let routed = Routed::new(rules);
                let to = match rules.contains("dnat") {
                    true => Ipv4Addr::new(198, 51, 100, 9),
                    false => Routed::FAR,
                };
                let frame = frame_for(&routed.hosts, to).udp(&payload());
                let seen = routed.far.run(|| {
                    programs.attached("untouched", routed.wire.b(), || {
                        routed
                            .hosts
                            .server()
                            .run(|| programs.send("produce", routed.hosts.server_link(), &frame));
                    })
                });
                assert_eq!(
                    (seen.right, seen.wrong),
                    (PACKETS, 0),
                    "{area} {rules}: {seen:?}"
                );
            }
        }
    });
}

#[test]
fn the_header_of_a_tunnel_is_no_record_whatever_its_sender_chose() {
    in_sandbox(|_| {
        for area in [24, 48] {
            let programs = match area {
                24 => Programs::with(registry(&[field("number", "u32", true)])),
                _ => Programs::new(area),
            };
            let hosts = TwoHosts::new().unwrap();
            let server = hosts.server();
            let run = |command: &str| {
                let words: Vec<_> = command.split(' ').collect();
                assert!(
                    server
                        .command(words[0])
                        .args(&words[1..])
                        .status()
                        .unwrap()
                        .success(),
                    "{command}"
                );
            };
            let local = if area == 24 {
                "192.0.2.2"
            } else {
                "2001:db8::2"
            };
            run(&format!(
                "ip link add vx0 type vxlan id 7 dstport 4789 local {local}"
            ));
            run("ip link set vx0 up");
            let tunnel = Link::find(server, "vx0").unwrap();
            let frame = forged(&hosts, &tunnel, &programs.registry);
            let seen = server.run(|| {
                programs.attached("untouched", &tunnel, || {
                    programs.send_with(
                        "pass",
                        hosts.server_link(),
                        &frame,
                        &secret().enclose(&Record::new(), area),
                    );
                })
            });
            let wanted = (PACKETS, 0, PACKETS, area as u64);
            assert_eq!(
                (seen.absent, seen.wrong, seen.deceived, seen.size),
                wanted,
                "{area}: {seen:?}"
            );
        }
    });
}

/// A container has the other end of a veth pair and redirects into it whatever it likes. It knows
/// the registry's fields, its layout and how seals are made.
#[test]
fn metadata_that_another_namespace_redirected_is_foreign_unless_it_proves_itself() {
    in_sandbox(|_| {
        let programs = Programs::new(96);
        let registry = &programs.registry;
        let hosts = TwoHosts::new().unwrap();
        let options = ObjectOptions {
            registry: Some(registry),
            ..Default::default()
        };
        let label = Object::load("xdp", hooks::xdp::HOOK.object, &options).unwrap();
        let label_program = label.program(hooks::xdp::HOOK.programs[0].name).unwrap();
        let _label = hosts
            .server()
            .run(|| attach(label_program, hosts.server_link(), libbpf_sys::BPF_XDP));

        let mut record = registry.layout().template;
        let tag = registry.by_name("number").unwrap().tag();
        record.set(tag, &7u32.to_le_bytes()).unwrap();
        let own = secret().enclose(&record, registry.layout().area);
        let forged = |random: u64| {
            // Half of them end in something that the kernel could have left.
            let mut area = own.clone();
            let at = area.len() - seal::SIZE;
            area[at..].copy_from_slice(&random.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            area
        };
        let mut forgeries: Vec<_> = (0..16).map(forged).collect();
        forgeries.push([&own[..own.len() - 8], &[0; 8]].concat());
        forgeries.push([&own[..own.len() - 8], &[0xff; 8]].concat());
        let frame = frame(&hosts);
        for forgery in &forgeries {
            let seen = hosts.server().run(|| {
                programs.attached("untouched", hosts.server_link(), || {
                    hosts.client().run(|| {
                        programs.send_with("redirect", hosts.client_link(), &frame, forgery)
                    });
                })
            });
            // A record of ours without the field, and so neither right nor absent.
            assert_eq!(
                (seen.packets, seen.right, seen.absent),
                (PACKETS, 0, 0),
                "{seen:?}"
            );
        }
        let counters = label.counters(&hooks::xdp::HOOK).unwrap();
        let count = |name: &str| {
            let counters = hooks::xdp::HOOK.counters.iter().zip(&counters);
            counters
                .filter(|(counter, _)| counter.name == name)
                .map(|(_, count)| *count)
                .sum::<u64>()
        };
        assert_eq!(count("foreign"), PACKETS * forgeries.len() as u64);
    });
}

/// What docs/limitations.md says of programs that reserve metadata and write nothing there: no
/// check of bytes can tell them from the program that wrote those.
#[test]
fn a_foreign_program_that_writes_nothing_where_it_reserved_shows_an_earlier_packets_record() {
    in_sandbox(|_| {
        let programs = Programs::new(96);
        let hosts = TwoHosts::new().unwrap();
        let seen = hosts.server().run(|| {
            programs.attached("untouched", hosts.server_link(), || {
                // Often: a page comes back when those are used up that came with it.
                for _ in 0..50 {
                    programs.send("recycle", hosts.server_link(), &frame(&hosts));
                }
            })
        });
        assert!(seen.packets > 0 && seen.absent < seen.packets, "{seen:?}");
    });
}

/// A program that was bound before a field was registered makes smaller areas than one bound later.
#[test]
fn programs_with_areas_of_different_sizes_read_and_write_each_others_records() {
    in_sandbox(|_| {
        let mut fields = full(32);
        let old = Programs::with(registry(&fields));
        fields.push(field("later", "bytes[60]", true));
        let new = Programs::with(registry(&fields));
        let run = |programs: &Programs, metadata: &[u8]| {
            let program = programs.object.program("produce").unwrap();
            let run = XdpRun::new(program).packet(&plain_frame());
            run.metadata(metadata).run().unwrap()
        };
        for (first, second) in [(&old, &new), (&new, &old)] {
            let made = run(first, &[]);
            assert_eq!(made.metadata.len(), first.registry.layout().area);
            // Until it gives another number than the first.
            let changed = loop {
                let changed = run(second, &made.metadata);
                if changed.packet != made.packet {
                    break changed;
                }
            };
            assert_eq!(changed.metadata.len(), made.metadata.len());
            let record = secret().open(&changed.metadata).unwrap();
            let number = &changed.packet[14 + 20 + 8 + 4..][..4];
            let value = |name| record.get(second.registry.by_name(name).unwrap().tag());
            assert_eq!(value("number"), Some(number));
            assert_eq!(value("whole"), Some(number));
            assert_eq!(value("byte"), Some(&number[..1]));
            assert_eq!(record.iter().count(), 3, "each field once: {record:?}");
        }
    });
}

/// So many packets of each kind: the kernel treats a neighbour's first one otherwise.
const PACKETS: u64 = 40;

/// `struct seen`.
#[derive(Debug, Default)]
struct Seen {
    packets: u64,
    right: u64,
    absent: u64,
    wrong: u64,
    deceived: u64,
    refused: u64,
    size: u64,
}

/// The programs of `seal.bpf.c`, bound to a registry whose records need an area of some size.
struct Programs {
    object: Object,
    registry: Registry,
}

impl Programs {
    fn new(area: usize) -> Self {
        let programs = Self::with(registry(&full(area)));
        assert_eq!(programs.registry.layout().area, area);
        programs
    }

    fn with(registry: Registry) -> Self {
        let options = ObjectOptions {
            registry: Some(&registry),
            ..Default::default()
        };
        let object = Object::load("seal", &compile(&clang(), "seal.bpf.c", &[]), &options);
        Self {
            object: object.unwrap_or_else(|error| panic!("{error:?}")),
            registry,
        }
    }

    /// Sends packets with records to the server, whose interface has the program `name`.
    fn run(&self, hosts: &TwoHosts, name: &str, frame: &[u8]) -> Seen {
        hosts.server().run(|| {
            self.attached(name, hosts.server_link(), || {
                self.send("produce", hosts.server_link(), frame)
            })
        })
    }

    fn send(&self, name: &str, from: &Link, frame: &[u8]) {
        self.send_with(name, from, frame, &[]);
    }

    fn send_with(&self, name: &str, from: &Link, frame: &[u8], metadata: &[u8]) {
        LiveFrames::new(self.object.program(name).unwrap())
            .packet(frame)
            .metadata(metadata)
            .ingress_ifindex(from.ifindex())
            .repeat(PACKETS as u32)
            .run()
            .unwrap();
    }

    /// What the program `name` saw on a link while something was done.
    fn attached(&self, name: &str, link: &Link, act: impl FnOnce()) -> Seen {
        let map = self.object.map("seen").unwrap();
        map.update(&[0; 4], &[0; size_of::<Seen>()], MapFlags::ANY)
            .unwrap();
        let program = self.object.program(name).unwrap();
        let link = attach(program, link, libbpf_sys::BPF_TCX_INGRESS);
        act();
        drop(link);
        let bytes = map.lookup(&[0; 4], MapFlags::ANY).unwrap().unwrap();
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<_> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let [packets, right, absent, wrong, deceived, refused, size] = words[..] else {
            panic!("{words:?}")
        };
        Seen {
            packets,
            right,
            absent,
            wrong,
            deceived,
            refused,
            size,
        }
    }
}

/// A host that routes from the testkit's two to a third network.
struct Routed {
    hosts: TwoHosts,
    far: Netns,
    wire: VethPair,
}

impl Routed {
    const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    /// With a rule of nftables, if there is one.
    fn new(rule: &str) -> Self {
        let (hosts, far) = (TwoHosts::new().unwrap(), Netns::new().unwrap());
        let router = hosts.server();
        let wire = VethPair::new(router, "router-far", &far, "far").unwrap();
        wire.a().add_address(Self::NEAR.into(), 24).unwrap();
        wire.b().add_address(Self::FAR.into(), 24).unwrap();
        wire.a().set_up().unwrap();
        wire.b().set_up().unwrap();
        wire.a()
            .add_neighbour(Self::FAR.into(), wire.b().mac())
            .unwrap();
        router
            .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
            .unwrap();
        if !rule.is_empty() {
            let hook = match rule.contains("dnat") {
                true => "prerouting priority -100",
                false => "postrouting priority 100",
            };
            let rules = format!("table ip nat {{ chain c {{ type nat hook {hook}; {rule}; }}; }}");
            let nft = router.command("nft").arg(&rules).status().unwrap();
            assert!(nft.success(), "{rules}");
        }
        Self { hosts, far, wire }
    }
}

/// Attaches a program while the result lives.
fn attach(program: BorrowedFd<'_>, link: &Link, to: libbpf_sys::bpf_attach_type) -> OwnedFd {
    // SAFETY: no options are passed.
    let fd = unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            link.ifindex() as i32,
            to,
            std::ptr::null(),
        )
    };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made and is nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A registry with these fields: names, types, and whether they are hot.
fn registry(fields: &[(String, String, bool)]) -> Registry {
    let mut schema = "owner = \"seal\"\n".to_owned();
    for (name, kind, hot) in fields {
        schema += &format!("[[field]]\nname = \"{name}\"\ntype = \"{kind}\"\nhot = {hot}\n");
        schema += "doc = \"Tried\"\n";
    }
    let schema = Schema::parse("seal.toml", &schema).unwrap();
    Schema::registry([&schema]).unwrap().with_secret(secret())
}

fn field(name: &str, kind: &str, hot: bool) -> (String, String, bool) {
    (name.into(), kind.into(), hot)
}

/// The fields of `seal.bpf.c`, and such that a record with all has no byte to spare in this area.
/// One that is cold and one of a byte stand last.
fn full(area: usize) -> Vec<(String, String, bool)> {
    let mut fields = vec![field("whole", "u32", true)];
    let mut left = area - seal::SIZE - Record::HEADER - 5 - 3 - 5;
    while left > 2 {
        let size = (left - 2).min(60);
        // Of 4 bytes left 2 would be for a value that needs 3.
        let size = if size == 2 { 1 } else { size };
        let name = match size {
            60 => format!("filler_{}", fields.len()),
            _ => format!("rest_{}", fields.len()),
        };
        fields.push(field(&name, &format!("bytes[{size}]"), true));
        left -= size + if [4, 8].contains(&size) { 1 } else { 2 };
    }
    fields.extend([field("byte", "u8", true), field("number", "u32", false)]);
    fields
}

fn payload() -> [u8; 16] {
    *b"seal\0\0\0\0\0\0\0\0\0\0\0\0"
}

fn frame(hosts: &TwoHosts) -> Vec<u8> {
    frame_for(hosts, TwoHosts::SERVER_V4).udp(&payload())
}

fn frame_for(hosts: &TwoHosts, to: Ipv4Addr) -> Frame {
    let from = (TwoHosts::CLIENT_V4, 4000).into();
    Frame::new(from, (to, 4000).into()).macs(hosts.client_link().mac(), hosts.server_link().mac())
}

fn plain_frame() -> Vec<u8> {
    Frame::new(
        (TwoHosts::CLIENT_V4, 4000).into(),
        (TwoHosts::SERVER_V4, 4000).into(),
    )
    .udp(&payload())
}

/// A packet in a tunnel whose outer source address begins as an area does: where that stands, the
/// kernel looks for metadata once the tunnel's headers are gone.
fn forged(hosts: &TwoHosts, tunnel: &Link, registry: &Registry) -> Vec<u8> {
    let inner = Frame::new(
        ([198, 51, 100, 7], 4000).into(),
        ([198, 51, 100, 8], 4000).into(),
    );
    let inner = inner.macs([2, 0, 0, 0, 0, 7], tunnel.mac()).udp(&payload());
    let mut record = registry.layout().template;
    let number = registry.by_name("number").unwrap();
    record.set(number.tag(), &[7; 4]).unwrap();
    let forgery = secret().enclose(&record, registry.layout().area);
    let (source, to): (IpAddr, IpAddr) = match forgery.len() {
        24 => {
            let [header @ .., _, _, _, _] = *forgery.first_chunk::<8>().unwrap();
            (Ipv4Addr::from(header).into(), TwoHosts::SERVER_V4.into())
        }
        _ => {
            let mut bytes = *forgery.first_chunk::<16>().unwrap();
            // A record that ends with the address.
            bytes[3] = 16;
            (Ipv6Addr::from(bytes).into(), TwoHosts::SERVER_V6.into())
        }
    };
    let outer = Frame::new((source, 4000).into(), (to, 4789).into());
    let outer = outer.macs(hosts.client_link().mac(), hosts.server_link().mac());
    outer.udp(&[&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat())
}
