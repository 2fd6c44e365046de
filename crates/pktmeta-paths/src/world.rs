//! The hosts, the links between them, and where programs run.
//!
//! ```text
//! sender ---- host ---- receiver
//!               |
//!          container
//! ```
//! The host has the datapath; sockets that receive are on the host and on the receiver. A path has
//! links of its own, but comes in by the first one unless it needs another.

use anyhow::{Context, Result, anyhow, bail};
use libbpf_sys::{
    BPF_TCX_EGRESS, BPF_TCX_INGRESS, BPF_XDP, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE,
    bpf_attach_type,
};
use pktmeta_testkit::netns::Netns;
use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
    process::Command,
};

/// What every device is called by that packets are sent to: a packet that is redirected past
/// routing fits wherever it comes out.
pub(crate) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Everything that packets meet.
pub(crate) struct World {
    pub(crate) sender: Netns,
    pub(crate) host: Netns,
    pub(crate) receiver: Netns,
    pub(crate) container: Netns,
    pub(crate) places: Vec<Place>,
    /// By their indexes, which no two namespaces share: the host that each is on, and its name.
    pub(crate) devices: BTreeMap<u32, (&'static str, String)>,
    /// The sender's device on the first link.
    pub(crate) first: u32,
    links: u8,
    others: u32,
}

/// Where a program runs.
pub(crate) struct Place {
    pub(crate) netns: Netns,
    pub(crate) device: String,
    pub(crate) ifindex: u32,
    pub(crate) kind: bpf_attach_type,
    pub(crate) flags: u32,
    pub(crate) program: &'static str,
}

/// Two devices, each the other's peer, with addresses of their own subnets.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) number: u8,
    pub(crate) near: Device,
    pub(crate) far: Device,
}

#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) netns: Netns,
    pub(crate) name: String,
    pub(crate) ifindex: u32,
}

/// How an XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Xdp {
    Native,
    Generic,
}

impl World {
    /// The namespaces, and the link between sender and host.
    pub(crate) fn new() -> Result<Self> {
        let mut world = Self {
            sender: Netns::new()?,
            host: Netns::new()?,
            receiver: Netns::new()?,
            container: Netns::new()?,
            places: Vec::new(),
            devices: BTreeMap::new(),
            first: 0,
            links: 0,
            others: 0,
        };
        for netns in [
            &world.sender,
            &world.host,
            &world.receiver,
            &world.container,
        ] {
            for (name, value) in [
                ("ipv4/ip_forward", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv6/conf/all/forwarding", "1"),
            ] {
                let path = format!("/proc/sys/net/{name}");
                let written = netns.run(|| fs::write(&path, value));
                written.with_context(|| format!("write {value} to {path}"))?;
            }
        }
        let host = world.host.clone();
        let first = world.pair(&world.sender.clone(), &host)?;
        world.first = first.near.ifindex;
        world.comes_in(&first.far, Xdp::Native)?;
        // By which the receiver answers.
        let back = world.pair(&world.receiver.clone(), &host)?;
        for version in [V4, V6] {
            for pair in [&first, &back] {
                let via = address(pair.number, version, FAR);
                let (to, family) = (version.default_route(), version.flag());
                world.ip(
                    &pair.near.netns,
                    &format!("{family} route add {to} via {via}"),
                )?;
            }
        }
        Ok(world)
    }

    /// A veth pair with addresses of its own; the far end has [`MAC`].
    pub(crate) fn pair(&mut self, near: &Netns, far: &Netns) -> Result<Pair> {
        let pair = self.bare_pair(near, far)?;
        for (device, end) in [(&pair.near, NEAR), (&pair.far, FAR)] {
            self.add_addresses(device, pair.number, end)?;
        }
        Ok(pair)
    }

    /// A veth pair that is up, without addresses.
    pub(crate) fn bare_pair(&mut self, near: &Netns, far: &Netns) -> Result<Pair> {
        let number = self.new_number();
        let [near, far] = [("n", near, 0), ("f", far, 1)].map(|(end, netns, one)| Device {
            netns: netns.clone(),
            name: format!("{end}{number}"),
            ifindex: 100 + 2 * u32::from(number) + one,
        });
        let (fd, pid) = (far.netns.as_fd().as_raw_fd(), std::process::id());
        let (a, b) = (&near.name, &far.name);
        let (i, j) = (near.ifindex, far.ifindex);
        let mac = mac_text();
        self.ip(
            &near.netns,
            &format!(
                "link add {a} index {i} type veth peer name {b} index {j} address {mac} netns \
                 /proc/{pid}/fd/{fd}"
            ),
        )?;
        for device in [&near, &far] {
            // A packet has one record: none carries several messages.
            self.ip(
                &device.netns,
                &format!("link set {} gso_max_segs 1", device.name),
            )?;
            self.added(device)?;
        }
        Ok(Pair { number, near, far })
    }

    /// A device of a type that the kernel may not have, up: `ip link add NAME ... WORDS`.
    pub(crate) fn device(&mut self, netns: &Netns, words: &str) -> Result<Device> {
        self.others += 1;
        let number = self.others;
        let device = Device {
            netns: netns.clone(),
            name: format!("d{number}"),
            ifindex: 1000 + number,
        };
        let (name, index) = (&device.name, device.ifindex);
        self.ip(
            netns,
            &format!("link add name {name} index {index} {words}"),
        )?;
        self.added(&device)?;
        Ok(device)
    }

    /// A number of a link's, for addresses.
    pub(crate) fn new_number(&mut self) -> u8 {
        self.links += 1;
        self.links - 1
    }

    fn added(&mut self, device: &Device) -> Result<()> {
        let name = &device.name;
        self.ip(&device.netns, &format!("link set {name} up"))?;
        let host = self.name_of(&device.netns);
        self.devices.insert(device.ifindex, (host, name.clone()));
        Ok(())
    }

    fn name_of(&self, netns: &Netns) -> &'static str {
        let hosts = [
            (&self.sender, "sender"),
            (&self.host, "host"),
            (&self.receiver, "receiver"),
            (&self.container, "container"),
        ];
        let host = hosts.iter().find(|(other, _)| other.id() == netns.id());
        host.map_or("?", |(_, name)| name)
    }

    pub(crate) fn add_addresses(&self, device: &Device, number: u8, end: u8) -> Result<()> {
        for version in [V4, V6] {
            let (address, length) = (address(number, version, end), version.subnet());
            let name = &device.name;
            let nodad = if version == V6 { "nodad" } else { "" };
            self.ip(
                &device.netns,
                &format!("addr add {address}/{length} dev {name} {nodad}"),
            )?;
        }
        Ok(())
    }

    /// An end of a link has [`MAC`], for a device on the other that cannot ask.
    pub(crate) fn add_neighbours(&self, device: &Device, number: u8, end: u8) -> Result<()> {
        [V4, V6].into_iter().try_for_each(|version| {
            let (name, mac) = (&device.name, mac_text());
            let to = address(number, version, end);
            self.ip(
                &device.netns,
                &format!("neigh replace {to} lladdr {mac} dev {name}"),
            )
        })
    }

    /// Packets for a link come in here first.
    pub(crate) fn comes_in(&mut self, device: &Device, xdp: Xdp) -> Result<()> {
        self.run_xdp(device, "label", xdp);
        self.run(device, "first", BPF_TCX_INGRESS);
        Ok(())
    }

    /// Packets leave here and come in there.
    pub(crate) fn goes_on(&mut self, pair: &Pair) {
        self.run(&pair.near, "egress", BPF_TCX_EGRESS);
        self.run(&pair.far, "ingress", BPF_TCX_INGRESS);
    }

    pub(crate) fn run(&mut self, device: &Device, program: &'static str, kind: bpf_attach_type) {
        self.place(device, program, kind, 0);
    }

    pub(crate) fn run_xdp(&mut self, device: &Device, program: &'static str, xdp: Xdp) {
        let flags = match xdp {
            Xdp::Native => XDP_FLAGS_DRV_MODE,
            Xdp::Generic => XDP_FLAGS_SKB_MODE,
        };
        self.place(device, program, BPF_XDP, flags);
    }

    fn place(&mut self, device: &Device, program: &'static str, kind: bpf_attach_type, flags: u32) {
        self.places.push(Place {
            netns: device.netns.clone(),
            device: device.name.clone(),
            ifindex: device.ifindex,
            kind,
            flags,
            program,
        });
    }

    /// Runs `ip`.
    pub(crate) fn ip(&self, netns: &Netns, words: &str) -> Result<()> {
        self.command(netns, "ip", words.split_whitespace())
    }

    /// Runs `tc`.
    pub(crate) fn tc(&self, netns: &Netns, words: &str) -> Result<()> {
        self.command(netns, "tc", words.split_whitespace())
    }

    /// Runs `nft` with one command.
    pub(crate) fn nft(&self, netns: &Netns, command: &str) -> Result<()> {
        self.command(netns, "nft", [command].into_iter())
    }

    fn command<'a>(
        &self,
        netns: &Netns,
        program: &str,
        words: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let words: Vec<&str> = words.collect();
        let mut command: Command = netns.command(program);
        let output = command.args(&words).output().map_err(|error| {
            let package = match program {
                "nft" => "nftables",
                _ => "iproute2",
            };
            anyhow!("start {program}: {error}\n  = install {package}")
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().next().unwrap_or_default();
        let what = format!("{program} {}: {said}", words.join(" "));
        match LACKING.iter().any(|sign| said.contains(sign)) {
            true => Err(Lacking(what).into()),
            false => bail!(what),
        }
    }

    /// Lets the kernel compute the checksums of what a device sends: XDP_REDIRECT forgets that
    /// others are still to be computed.
    pub(crate) fn compute_checksums(&self, device: &Device) -> Result<()> {
        const ETHTOOL_STXCSUM: u32 = 0x17;
        ethtool(device, ETHTOOL_STXCSUM, 0).map(drop)
    }

    /// What is for an end of a link goes by another one.
    pub(crate) fn route(&self, netns: &Netns, to: &Pair, by: &Pair) -> Result<()> {
        [V4, V6].into_iter().try_for_each(|version| {
            let [to, via] = [to.number, by.number].map(|link| address(link, version, FAR));
            self.ip(
                netns,
                &format!("{} route add {to} via {via}", version.flag()),
            )
        })
    }

    /// Switches what a device does with VLAN tags itself: taking them out of frames that come in,
    /// putting them into frames that go out.
    pub(crate) fn set_vlan_offload(&self, device: &Device, on: bool) -> Result<()> {
        const ETHTOOL_GFLAGS: u32 = 0x25;
        const ETHTOOL_SFLAGS: u32 = 0x26;
        const BOTH: u32 = 1 << 7 | 1 << 8;
        let now = ethtool(device, ETHTOOL_GFLAGS, 0)?;
        let wanted = if on { now | BOTH } else { now & !BOTH };
        ethtool(device, ETHTOOL_SFLAGS, wanted)?;
        match ethtool(device, ETHTOOL_GFLAGS, 0)? == wanted {
            true => Ok(()),
            false => bail!("{} keeps its VLAN offload as it was", device.name),
        }
    }
}

/// What a kernel does not have that a path needs. Every other trouble is an error.
#[derive(Debug)]
pub(crate) struct Lacking(String);

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// How `ip`, `nft` and `tc` say that the kernel does not know what they ask for.
const LACKING: [&str; 8] = [
    "Unknown device type",
    "qdisc kind is unknown",
    "TC classifier not found",
    "Failed to load TC action module",
    "Operation not supported",
    "Protocol not supported",
    "Could not process rule: No such file or directory",
    "RTNETLINK answers: No such file or directory", // no such family of generic netlink
];

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V4,
    V6,
}
pub(crate) use Version::{V4, V6};

impl Version {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            V4 => "-4",
            V6 => "-6",
        }
    }

    fn default_route(self) -> &'static str {
        match self {
            V4 => "0.0.0.0/0",
            V6 => "::/0",
        }
    }

    fn subnet(self) -> u8 {
        match self {
            V4 => 30,
            V6 => 64,
        }
    }
}

/// The ends of a link in its subnet, and an address there that nobody has: Linux takes the lowest
/// for one like others.
pub(crate) const NEAR: u8 = 1;
pub(crate) const FAR: u8 = 2;
pub(crate) const NOBODY: u8 = 0;

/// An address of a link.
pub(crate) fn address(number: u8, version: Version, end: u8) -> IpAddr {
    match version {
        V4 if number < 64 => Ipv4Addr::new(192, 0, 2, 4 * number + end).into(),
        V4 => Ipv4Addr::new(198, 51, 100, 4 * (number - 64) + end).into(),
        V6 => Ipv6Addr::new(0x2001, 0xdb8, number.into(), 0, 0, 0, 0, end.into()).into(),
    }
}

pub(crate) fn mac_text() -> String {
    MAC.map(|byte| format!("{byte:02x}")).join(":")
}

/// One command of the ethtool interface that takes and gives a number.
fn ethtool(device: &Device, command: u32, value: u32) -> Result<u32> {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    let mut value = [command, value];
    // SAFETY: an ifreq of zeros is one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let socket = device.netns.run(|| std::net::UdpSocket::bind(any))?;
    // SAFETY: the request names a device and points to the command and its number.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    match result {
        0 => Ok(value[1]),
        _ => Err(io::Error::last_os_error()).with_context(|| format!("ethtool {}", device.name)),
    }
}
