//! Packets that do not begin with Ethernet's header, that have VLAN tags in them, or that are
//! large; and how labels count what they did.

use crate::{
    command::{Run, Scratch, text},
    lab::{INTERFACE, LIMIT, Lab, SCHEMA, TENANT, eventually},
};
use pktmeta::{PacketMeta, Received, TcpMeta, UdpMeta, builtin};
use pktmeta_testkit::{
    link::IpVersion,
    netns::Netns,
    packet::{self, Frame},
    sandbox::in_sandbox,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

const ETHERNET: usize = 14;

#[test]
fn a_packet_without_ethernet_is_labelled_by_its_source_address_and_not_by_its_payload() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let tun = Tun::new(lab.hosts.server(), IFF_TUN);
        let labels = [
            "--label=198.51.100.7=tenant:7",
            "--label=2001:db8:1::8=tenant:8",
        ];
        tun.up(&lab, &labels).succeeds();
        for (version, from, tenant) in [
            (IpVersion::V4, "198.51.100.7", Some(7)),
            (IpVersion::V4, "198.51.100.9", None),
            (IpVersion::V6, "2001:db8:1::8", Some(8)),
            (IpVersion::V6, "2001:db8:1::9", None),
        ] {
            let meta = tun.datagram(&lab, version, from, b"hello");
            assert_eq!(meta.get(TENANT), tenant, "{from}: {meta:?}");
            assert_eq!(meta.get(builtin::RX_IFINDEX), Some(tun.ifindex()));
        }
        let status = lab.status();
        assert_eq!(
            ["labelled", "unmatched"].map(|name| status.counter("xdp", name)),
            [2, 2]
        );
    });
}

/// Behind Ethernet, bytes 12 and 13 would be the EtherType, and the source address of the header
/// behind it among bytes that the sender chooses.
#[test]
fn a_sender_cannot_choose_a_label_by_what_would_be_an_address_behind_ethernet() {
    in_sandbox(|sandbox| {
        for (ether_type_as_source, address_at) in [("8.0.0.1", 26..30), ("134.221.0.1", 22..38)] {
            let lab = Lab::new(sandbox);
            let tun = Tun::new(lab.hosts.server(), IFF_TUN);
            let payload = [0x20; 32];
            let packet = tun.packet(IpVersion::V4, ether_type_as_source, &payload);
            let victim = match &packet[address_at] {
                v4 @ &[_, _, _, _] => Ipv4Addr::from(<[u8; 4]>::try_from(v4).unwrap()).into(),
                v6 => IpAddr::from(<[u8; 16]>::try_from(v6).unwrap()),
            };
            tun.up(&lab, &[&format!("--label={victim}=tenant:7")])
                .succeeds();
            let meta = tun.datagram(&lab, IpVersion::V4, ether_type_as_source, &payload);
            assert_eq!(meta.get(TENANT), None, "{victim}: {meta:?}");
            assert_eq!(lab.status().counter("xdp", "labelled"), 0);
            lab.down();
        }
    });
}

#[test]
fn xdp_in_the_driver_of_a_device_that_has_none_is_refused_with_the_remedy() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let tun = Tun::new(lab.hosts.server(), IFF_TUN);
        let refused = tun.up(&lab, &["--label=198.51.100.7=tenant:7", "--mode=native"]);
        refused.fails(&["of tun0", "driver refuses", "--mode generic"]);
        tun.up(&lab, &["--label=198.51.100.7=tenant:7", "--mode=generic"])
            .succeeds();
        let meta = tun.datagram(&lab, IpVersion::V4, "198.51.100.7", b"hello");
        assert_eq!(meta.get(TENANT), Some(7), "{meta:?}");
    });
}

#[test]
fn a_tap_device_has_ethernet_in_the_driver_and_after_it() {
    in_sandbox(|sandbox| {
        for mode in ["native", "generic"] {
            let lab = Lab::new(sandbox);
            let tap = Tun::new(lab.hosts.server(), IFF_TAP);
            let mode = format!("--mode={mode}");
            tap.up(&lab, &["--label=198.51.100.7=tenant:7", &mode])
                .succeeds();
            let meta = tap.datagram(&lab, IpVersion::V4, "198.51.100.7", b"hello");
            assert_eq!(meta.get(TENANT), Some(7), "{mode}: {meta:?}");
            lab.down();
        }
    });
}

#[test]
fn labels_are_refused_where_nobody_knows_the_source_address_and_other_fields_are_not() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let tun = Tun::new(lab.hosts.server(), IFF_TUN);
        tun.set_link_type(ARPHRD_IEEE80211_RADIOTAP);
        let refused = tun.up(&lab, &["--label=198.51.100.7=tenant:7"]);
        refused.fails(&[
            "packets of tun0 by their source",
            "link type 803",
            "--produce",
        ]);
        tun.up(&lab, &[]).succeeds();
        let meta = tun.datagram(&lab, IpVersion::V4, "198.51.100.7", b"hello");
        assert_eq!(
            meta.get(builtin::RX_IFINDEX),
            Some(tun.ifindex()),
            "{meta:?}"
        );
    });
}

#[test]
fn packets_with_one_and_two_vlan_tags_in_them_are_labelled_and_those_with_three_are_not() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for (tags, counter) in [(1, "labelled"), (2, "labelled"), (3, "not_ip")] {
            let before = lab.status().counter("xdp", counter);
            send_tagged(&lab, tags);
            eventually("the packet is counted", || {
                lab.status().counter("xdp", counter) > before
            });
        }
    });
}

/// A frame of the first tenant, whose tags are in the packet: no device takes them out of what a
/// packet socket sends.
fn send_tagged(lab: &Lab, tags: usize) {
    let link = lab.hosts.client_link();
    let from = crate::lab::tenant_address(IpVersion::V4, 1);
    let to = lab.server_address(IpVersion::V4, 7);
    let frame = Frame::new((from, 7).into(), to).macs(link.mac(), lab.hosts.server_link().mac());
    let mut frame = frame.udp(b"hello");
    for _ in 0..tags {
        frame.splice(12..12, [0x81, 0, 0, 5]);
    }
    lab.hosts.client().run(|| {
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        let (domain, kind) = (libc::AF_PACKET.into(), socket2::Type::RAW);
        let socket = socket2::Socket::new(domain, kind, Some(protocol.into())).unwrap();
        // SAFETY: zeros are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = link.ifindex() as i32;
        // SAFETY: frame and address are of the lengths that are passed and outlive the call.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    });
}

#[test]
fn with_an_mtu_of_9000_all_fields_of_packets_with_fragments_arrive_in_the_driver_and_after_it() {
    in_sandbox(|sandbox| {
        for mode in ["native", "generic"] {
            let lab = Lab::new(sandbox);
            for link in [lab.hosts.client_link(), lab.hosts.server_link()] {
                link.set_mtu(9000).unwrap();
            }
            let mode = format!("--mode={mode}");
            lab.try_up(&["--produce=all", &mode]).succeeds();
            for version in IpVersion::BOTH {
                let server = lab.udp_server(version);
                let client = lab.udp_client(version, 2);
                for size in [1, 4000, 8900] {
                    let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
                    client
                        .send_to(&payload, server.local_addr().unwrap())
                        .unwrap();
                    let mut buffer = [0; 9000];
                    let Received {
                        len: length, meta, ..
                    } = server.recv_from_meta(&mut buffer).unwrap();
                    assert_eq!(buffer[..length], payload);
                    assert_all_fields(&lab, &meta.unwrap(), 2);
                }
                let (mut server, mut client) = lab.connection(version, 3);
                assert_all_fields(&lab, &server.opening_meta().unwrap(), 3);
                let stream: Vec<u8> = (0..500_000).map(|at: u32| at as u8).collect();
                std::thread::scope(|scope| {
                    scope.spawn(|| client.write_all(&stream).unwrap());
                    let mut received = vec![0; stream.len()];
                    server.read_exact(&mut received).unwrap();
                    assert!(received == stream);
                });
                assert_all_fields(&lab, &server.packet_meta().unwrap(), 3);
            }
            let status = lab.status();
            let counter = |name| status.counter("xdp", name);
            assert_eq!(["no_area", "no_room", "foreign"].map(counter), [0; 3]);
            assert_eq!(status.counter("tc ingress", "foreign"), 0);
            assert_eq!(
                counter("records"),
                ["labelled", "unmatched", "not_ip"]
                    .map(counter)
                    .iter()
                    .sum::<u64>()
            );
            lab.down();
        }
    });
}

#[track_caller]
fn assert_all_fields(lab: &Lab, meta: &PacketMeta, tenant: u32) {
    lab.assert_labelled(meta, tenant);
    assert!(meta.get(builtin::RX_TIMESTAMP).is_some(), "{meta:?}");
    assert!(meta.get(builtin::PACKET_NUMBER).is_some(), "{meta:?}");
    assert!(meta.get(builtin::FLOW_HASH).is_some(), "{meta:?}");
}

#[test]
fn a_label_of_every_ipv6_address_is_for_no_ipv4_packet_and_the_other_way_round() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for (label, v4, v6) in [
            ("--label=::/0=tenant:9", None, Some(9)),
            ("--label=0.0.0.0/0=tenant:8", Some(8), None),
        ] {
            let mut up = crate::command::up(sandbox, lab.hosts.server(), INTERFACE);
            up.args(["--schema", SCHEMA, label]).ran().succeeds();
            for (version, tenant) in [(IpVersion::V4, v4), (IpVersion::V6, v6)] {
                let meta = lab.datagram(version, 1).unwrap();
                assert_eq!(meta.get(TENANT), tenant, "{label}: {meta:?}");
            }
            lab.down();
        }
    });
}

#[test]
fn labels_come_from_files_too_and_status_counts_the_packets_of_each() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let mut labels = String::from("# all of them\n\n");
        for at in 0..40_000u32 {
            let address = Ipv4Addr::from((10 << 24) + (at << 8));
            labels += &format!("{address}/24=tenant:{at}\n");
        }
        let file = scratch.file("labels", labels);
        // The longer prefixes of the first two tenants come by arguments, of each tenant's address.
        let up = lab.try_up(&["--labels", &file, "--label=192.0.2.0/24=tenant:77"]);
        up.succeeds();
        for _ in 0..3 {
            lab.datagram(IpVersion::V4, 1).unwrap();
        }
        lab.datagram(IpVersion::V6, 2).unwrap();
        let status = lab.status();
        let labels = status.interfaces()[0]["labels"].as_array().unwrap();
        assert_eq!(labels.len(), 40_009);
        let counted: Vec<_> = labels
            .iter()
            .filter(|label| label["packets"] != 0)
            .collect();
        let packets = |label: &&serde_json::Value| label["packets"].as_u64().unwrap();
        let sum: u64 = counted.iter().map(packets).sum();
        assert_eq!(sum, status.counter("xdp", "labelled"));
        let first = counted
            .iter()
            .find(|label| label["prefix"] == "192.0.2.101/32")
            .unwrap();
        assert_eq!(first["packets"], 3);
        assert_eq!(first["fields"]["tenant"], 1);
        let table = lab.pktmeta(&["status"]).succeeds();
        assert!(table.contains("192.0.2.101/32"), "{table}");
        assert!(table.contains("and 39989 more"), "{table}");
    });
}

#[test]
fn a_line_that_is_no_label_is_an_error_that_names_it() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let file = scratch.file("labels", "192.0.2.0/24=tenant:1\n192.0.2.0/33=tenant:1\n");
        let place = format!("{file}:2: label");
        lab.try_up(&["--labels", &file])
            .fails(&[&place, "longer", "PREFIX=FIELD:VALUE"]);
        lab.try_up(&["--labels", &text(scratch.path())])
            .fails(&["read the labels", "directory"]);
        lab.try_up(&["--labels", "/dev/zero"])
            .fails(&["/dev/zero", "has more than"]);
        lab.assert_nothing_is_left();
    });
}

/// A device whose packets this process writes. It is gone with the value.
struct Tun {
    netns: Netns,
    file: File,
    has_ethernet: bool,
}

const IFF_TUN: i32 = libc::IFF_TUN;
const IFF_TAP: i32 = libc::IFF_TAP;
const ARPHRD_IEEE80211_RADIOTAP: libc::c_ulong = 803;

impl Tun {
    const NAME: &str = "tun0";

    fn new(netns: &Netns, kind: i32) -> Self {
        let file = netns.run(|| {
            let file = File::options()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .unwrap();
            // SAFETY: zeros are a valid ifreq.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(Self::NAME.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = (kind | libc::IFF_NO_PI) as i16;
            ioctl(&file, libc::TUNSETIFF, (&raw mut request) as libc::c_ulong);
            file
        });
        let tun = Self {
            netns: netns.clone(),
            file,
            has_ethernet: kind == IFF_TAP,
        };
        tun.ip(&["address", "add", "198.51.100.1/24", "dev", Self::NAME]);
        tun.ip(&[
            "address",
            "add",
            "2001:db8:1::1/64",
            "dev",
            Self::NAME,
            "nodad",
        ]);
        tun.ip(&["link", "set", Self::NAME, "up"]);
        tun
    }

    fn up(&self, lab: &Lab, arguments: &[&str]) -> crate::command::Ran {
        let mut up = crate::command::up(&lab.sandbox, &self.netns, Self::NAME);
        up.args(["--schema", SCHEMA]).args(arguments).ran()
    }

    fn ifindex(&self) -> u32 {
        let name = c"tun0";
        // SAFETY: name is NUL-terminated.
        self.netns
            .run(|| unsafe { libc::if_nametoindex(name.as_ptr()) })
    }

    /// The kernel lets the owner of a tun device say what it is.
    fn set_link_type(&self, number: libc::c_ulong) {
        self.ip(&["link", "set", Self::NAME, "down"]);
        ioctl(&self.file, libc::TUNSETLINK, number);
        self.ip(&["link", "set", Self::NAME, "up"]);
    }

    /// What is known of a datagram that arrives here.
    fn datagram(&self, lab: &Lab, version: IpVersion, from: &str, payload: &[u8]) -> PacketMeta {
        let to = Self::server(version);
        let server = lab.hosts.server().run(|| UdpSocket::bind(to).unwrap());
        server.enable_packet_meta().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        self.write(&self.packet(version, from, payload));
        let Received {
            len: length, meta, ..
        } = server.recv_from_meta(&mut [0; 64]).unwrap();
        assert_eq!(length, payload.len());
        meta.unwrap()
    }

    /// A datagram to the server, as the device takes it.
    fn packet(&self, version: IpVersion, from: &str, payload: &[u8]) -> Vec<u8> {
        let from = (from.parse::<IpAddr>().unwrap(), 7).into();
        let frame = packet::udp(from, Self::server(version), payload);
        match self.has_ethernet {
            true => [&self.mac()[..], &frame[6..]].concat(),
            false => frame[ETHERNET..].into(),
        }
    }

    fn server(version: IpVersion) -> SocketAddr {
        match version {
            IpVersion::V4 => "198.51.100.1:7007".parse().unwrap(),
            IpVersion::V6 => "[2001:db8:1::1]:7007".parse().unwrap(),
        }
    }

    fn write(&self, packet: &[u8]) {
        assert_eq!((&self.file).write(packet).unwrap(), packet.len());
    }

    fn mac(&self) -> pktmeta_testkit::link::Mac {
        let link = pktmeta_testkit::link::Link::find(&self.netns, Self::NAME);
        link.unwrap().mac()
    }

    fn ip(&self, arguments: &[&str]) {
        self.netns.command("ip").args(arguments).ran().succeeds();
    }
}

fn ioctl(file: &File, request: libc::Ioctl, argument: libc::c_ulong) {
    // SAFETY: the callers' arguments are what the request takes: a number, or an ifreq that lives.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
