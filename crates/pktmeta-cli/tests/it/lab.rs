//! Two hosts and what a test does with them.

use crate::{
    bpf,
    command::{Ran, Run, pktmeta, up},
};
use pktmeta::{Error, Field, PacketMeta, Received, TcpMeta, UdpMeta, builtin};
use pktmeta_testkit::{
    link::{IpVersion, TwoHosts},
    sandbox::Sandbox,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The field that labels set.
pub(crate) const TENANT: Field<u32> = Field::new("tenant");

/// Its schema.
pub(crate) const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/edge.toml");

pub(crate) const INTERFACE: &str = TwoHosts::SERVER_LINK;

/// How long anything may take that is not meant to fail.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A server whose packets are labelled, and a client that has an address for each tenant.
pub(crate) struct Lab {
    pub(crate) hosts: TwoHosts,
    pub(crate) sandbox: Sandbox,
}

impl Lab {
    pub(crate) const TENANTS: std::ops::RangeInclusive<u32> = 1..=4;

    /// Arguments of `up` that have all built-in fields produced, and so a program at TC.
    pub(crate) const ALL_FIELDS: [&str; 2] = ["--produce", "all"];

    /// Hosts without a datapath.
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let hosts = TwoHosts::new().unwrap();
        for tenant in Self::TENANTS {
            for (version, length) in [(IpVersion::V4, 24), (IpVersion::V6, 64)] {
                let address = tenant_address(version, tenant);
                let (link, mac) = (hosts.client_link(), hosts.client_link().mac());
                link.add_address(address, length).unwrap();
                hosts.server_link().add_neighbour(address, mac).unwrap();
            }
        }
        Self {
            hosts,
            sandbox: sandbox.clone(),
        }
    }

    /// Hosts with a datapath.
    pub(crate) fn up(sandbox: &Sandbox) -> Self {
        Self::up_with(sandbox, &[])
    }

    /// Hosts with a datapath that was started with more arguments.
    pub(crate) fn up_with(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let lab = Self::new(sandbox);
        lab.try_up(arguments).succeeds();
        lab
    }

    /// `up` on the server's interface, with a label for each tenant.
    pub(crate) fn try_up(&self, arguments: &[&str]) -> Ran {
        let mut command = up(&self.sandbox, self.hosts.server(), INTERFACE);
        command.args(["--schema", SCHEMA]);
        for tenant in Self::TENANTS {
            for version in IpVersion::BOTH {
                let address = tenant_address(version, tenant);
                command.arg(format!("--label={address}=tenant:{tenant}"));
            }
        }
        command.args(arguments).ran()
    }

    /// Any command, on the server.
    pub(crate) fn pktmeta(&self, arguments: &[&str]) -> Ran {
        pktmeta(self.hosts.server(), arguments).ran()
    }

    pub(crate) fn down(&self) -> String {
        self.pktmeta(&["down"]).succeeds()
    }

    pub(crate) fn status(&self) -> Status {
        let ran = self.pktmeta(&["status", "--json"]);
        assert!(matches!(ran.code, Some(0 | 3 | 4)), "{ran:#?}");
        Status(serde_json::from_str(&ran.stdout).unwrap())
    }

    pub(crate) fn ifindex(&self) -> u32 {
        self.hosts.server_ifindex()
    }

    pub(crate) fn server_address(&self, version: IpVersion, port: u16) -> SocketAddr {
        (self.hosts.server_ip(version), port).into()
    }

    /// A socket of the server on a port of its choice, enabled.
    pub(crate) fn udp_server(&self, version: IpVersion) -> UdpSocket {
        let socket = self.plain_udp_server(version);
        socket.enable_packet_meta().unwrap();
        socket
    }

    pub(crate) fn plain_udp_server(&self, version: IpVersion) -> UdpSocket {
        let address = self.server_address(version, 0);
        let socket = self.hosts.server().run(|| UdpSocket::bind(address));
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    /// A socket of the client that sends as `tenant`.
    pub(crate) fn udp_client(&self, version: IpVersion, tenant: u32) -> UdpSocket {
        let address = (tenant_address(version, tenant), 0);
        let socket = self.hosts.client().run(|| UdpSocket::bind(address));
        socket.unwrap()
    }

    pub(crate) fn listen(&self, version: IpVersion) -> TcpListener {
        let address = self.server_address(version, 0);
        let listener = self.hosts.server().run(|| TcpListener::bind(address));
        listener.unwrap()
    }

    /// Opens a connection as `tenant`, from the client.
    pub(crate) fn connect(&self, listener: &TcpListener, tenant: u32) -> TcpStream {
        self.connect_to(listener.local_addr().unwrap(), tenant)
    }

    /// The same, to an address.
    pub(crate) fn connect_to(&self, server: SocketAddr, tenant: u32) -> TcpStream {
        let version = match server.is_ipv4() {
            true => IpVersion::V4,
            false => IpVersion::V6,
        };
        let from = SocketAddr::new(tenant_address(version, tenant), 0);
        self.hosts.client().run(|| {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
            socket.bind(&from.into()).unwrap();
            socket.connect_timeout(&server.into(), LIMIT).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            socket.into()
        })
    }

    /// Both ends of a connection, the server's first, over which a byte has been sent.
    pub(crate) fn connection(&self, version: IpVersion, tenant: u32) -> (TcpStream, TcpStream) {
        let listener = self.listen(version);
        let mut client = self.connect(&listener, tenant);
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
        (server, client)
    }

    /// What is known of a datagram that `tenant` sends.
    pub(crate) fn datagram(&self, version: IpVersion, tenant: u32) -> Result<PacketMeta, Error> {
        let server = self.udp_server(version);
        let client = self.udp_client(version, tenant);
        client
            .send_to(b"hello", server.local_addr().unwrap())
            .unwrap();
        let mut payload = [0; 16];
        let Received {
            len: length,
            from,
            meta,
            ..
        } = server.recv_from_meta(&mut payload).unwrap();
        assert_eq!(&payload[..length], b"hello");
        assert_eq!(from, client.local_addr().unwrap());
        meta
    }

    /// Datagrams and connections of both families have their records.
    #[track_caller]
    pub(crate) fn assert_works(&self) {
        for (version, tenant) in [(IpVersion::V4, 1), (IpVersion::V6, 2)] {
            self.assert_labelled(&self.datagram(version, tenant).unwrap(), tenant);
            let (server, _client) = self.connection(version, tenant);
            self.assert_labelled(&server.opening_meta().unwrap(), tenant);
            self.assert_labelled(&server.packet_meta().unwrap(), tenant);
        }
    }

    /// What XDP knows is right.
    #[track_caller]
    pub(crate) fn assert_labelled(&self, meta: &PacketMeta, tenant: u32) {
        assert_eq!(meta.get(TENANT), Some(tenant), "{meta:?}");
        assert_eq!(
            meta.get(builtin::RX_IFINDEX),
            Some(self.ifindex()),
            "{meta:?}"
        );
        assert!(meta.get(builtin::RX_QUEUE).is_some(), "{meta:?}");
    }

    /// No pin, no program, and applications are told so.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self) {
        assert_eq!(pins(self.sandbox.bpffs()), [] as [PathBuf; 0]);
        assert_eq!(self.attached(), []);
        let socket = self.plain_udp_server(IpVersion::V4);
        let error = pktmeta::info(&socket).unwrap_err();
        assert!(error.is_unavailable(pktmeta::Reason::NoDatapath), "{error}");
    }

    /// Programs on the server's interface and the sandbox's cgroup.
    pub(crate) fn attached(&self) -> Vec<(&'static str, u32)> {
        let cgroup = self.sandbox.cgroup();
        bpf::attached(self.hosts.server(), self.ifindex(), cgroup)
    }
}

/// What is attached if the datapath is, as it is by default.
pub(crate) const ATTACHED: [(&str, u32); 5] = [
    ("xdp", 1),
    ("skb", 1),
    ("sockops", 1),
    ("getsockopt", 1),
    ("setsockopt", 1),
];

/// Everything below a bpffs but what the kernel puts there.
pub(crate) fn pins(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let ours = paths.filter(|path| path.extension().is_none_or(|kind| kind != "debug"));
    ours.flat_map(|path| match path.is_dir() {
        true => std::iter::once(path.clone()).chain(pins(&path)).collect(),
        false => vec![path],
    })
    .collect()
}

/// An address of the client, beside the two hosts' own.
pub(crate) fn tenant_address(version: IpVersion, tenant: u32) -> IpAddr {
    let host = 100 + tenant as u8;
    match version {
        IpVersion::V4 => Ipv4Addr::new(192, 0, 2, host).into(),
        IpVersion::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
    }
}

/// What `status --json` says.
#[derive(Debug)]
pub(crate) struct Status(pub(crate) Value);

impl Status {
    pub(crate) fn interfaces(&self) -> &[Value] {
        self.0["interfaces"].as_array().unwrap()
    }

    /// A counter of a hop, of the first interface or of the cgroup.
    #[track_caller]
    pub(crate) fn counter(&self, hop: &str, name: &str) -> u64 {
        let hops = ["/interfaces/0/hops", "/cgroups/0/hops"].map(|at| self.0.pointer(at).unwrap());
        let mut hops = hops.into_iter().flat_map(|hops| hops.as_array().unwrap());
        let hop = hops.find(|found| found["hop"] == hop).unwrap();
        let count = hop["counters"].get(name).or_else(|| hop["lost"].get(name));
        count.and_then(Value::as_u64).unwrap()
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
