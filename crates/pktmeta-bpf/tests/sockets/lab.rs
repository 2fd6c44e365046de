//! A server whose packets are labelled by sender, and a client with an address for each tenant.

use pktmeta::{Field, PacketMeta, builtin};
use pktmeta_bpf::{Datapath, Part, Senders, UpOptions, labels::Label};
use pktmeta_core::schema::Schema;
use pktmeta_testkit::{
    link::{IpVersion, Link, Mac, TwoHosts},
    netns::Netns,
    packet::{self, Frame, TcpFlags},
    sandbox::Sandbox,
};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    panic,
    time::Duration,
};

/// The field that labels set: which of the client's addresses a packet came from.
pub(crate) const TENANT: Field<u32> = Field::new("tenant");

/// A field that applications may send.
pub(crate) const TRACE: Field<u64> = Field::new("trace");

const SCHEMA: &str = r#"
owner = "lab"
[[field]]
name = "tenant"
type = "u32"
hot = true
"#;

/// What applications may send, and a rule that they may not.
const APP_SCHEMA: &str = r#"
owner = "app"
[[field]]
name = "trace"
type = "u64"
writers = ["app"]
[[field]]
name = "class"
type = "u8"
writers = ["app", "tc"]
[[field]]
name = "urgent"
type = "flag"
writers = ["app"]
[[field]]
name = "note"
type = "bytes[..60]"
writers = ["app"]
[[field]]
name = "key"
type = "bytes[64]"
writers = ["app"]
[[field]]
name = "rule"
type = "u32"
writers = ["tc"]
"#;

/// How long anything may take that is not meant to fail.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// The two hosts, and a datapath on the server's interface.
pub(crate) struct Lab {
    pub(crate) hosts: TwoHosts,
}

impl Lab {
    /// Tenants, each an address of the client of either version.
    pub(crate) const TENANTS: std::ops::RangeInclusive<u32> = 1..=8;

    /// Hosts with a datapath that produces all built-in fields, and else is as by default.
    pub(crate) fn up(sandbox: &Sandbox) -> Self {
        Self::up_with(sandbox, |_| {})
    }

    /// Hosts with a datapath whose options were changed.
    pub(crate) fn up_with(sandbox: &Sandbox, change: impl FnOnce(&mut UpOptions)) -> Self {
        let hosts = TwoHosts::new().unwrap();
        for tenant in Self::TENANTS {
            for (version, length) in [(IpVersion::V4, 24), (IpVersion::V6, 64)] {
                let address = tenant_address(version, tenant);
                let link = hosts.client_link();
                link.add_address(address, length).unwrap();
                add_neighbour(&hosts, address, link.mac());
            }
        }
        let lab = Self { hosts };
        lab.start(sandbox, change);
        lab
    }

    /// Gives hosts that have none a datapath.
    pub(crate) fn start(&self, sandbox: &Sandbox, change: impl FnOnce(&mut UpOptions)) {
        let mut options = UpOptions::new(TwoHosts::SERVER_LINK);
        options.cgroup = Some(sandbox.cgroup().into());
        options.schemas = vec![Schema::parse("lab.toml", SCHEMA).unwrap()];
        options.labels = Some(Self::TENANTS.flat_map(labels).collect());
        options.produce = builtin::NAMES.map(String::from).into();
        change(&mut options);
        let datapath = Datapath::new(sandbox.bpffs());
        self.hosts.server().run(|| datapath.up(&options)).unwrap();
    }

    /// Hosts with a datapath that knows [`app_schema`], whose fields these users may send.
    pub(crate) fn up_for(sandbox: &Sandbox, send: Senders) -> Self {
        Self::up_with(sandbox, |options| {
            options.schemas.push(app_schema());
            options.send = send;
        })
    }

    /// Lets the server's interface merge packets, which veth does not by itself.
    pub(crate) fn enable_gro(&self) {
        const ETHTOOL_SGRO: u32 = 0x2c;
        const SIOCETHTOOL: libc::Ioctl = 0x8946;
        // A `struct ethtool_value`.
        let mut value = [ETHTOOL_SGRO, 1];
        // SAFETY: an ifreq of zeros is one without a name.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .zip(TwoHosts::SERVER_LINK.bytes())
        {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        let any = (Ipv4Addr::UNSPECIFIED, 0);
        let socket = self.hosts.server().run(|| UdpSocket::bind(any)).unwrap();
        // SAFETY: the request names a device and points to the command's value.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    /// Lets the CPUs share the server's packets by flow, once XDP has labelled them: one CPU's may
    /// be in a socket's queue before others that arrived earlier.
    pub(crate) fn spread_flows(&self) {
        const ALL_CPUS: &str = "3";
        self.hosts.server().run(|| {
            // The sandbox's sysfs does not know the devices of this namespace.
            // SAFETY: the arguments are strings; there are no options.
            let mounted = unsafe {
                let (kind, to) = (c"sysfs".as_ptr(), c"/mnt".as_ptr());
                libc::mount(kind, to, kind, 0, std::ptr::null())
            };
            assert_eq!(mounted, 0, "{}", io::Error::last_os_error());
            let link = format!("/mnt/class/net/{}", TwoHosts::SERVER_LINK);
            std::fs::write(format!("{link}/queues/rx-0/rps_cpus"), ALL_CPUS).unwrap();
        });
    }

    /// An address of the server.
    pub(crate) fn server_address(&self, version: IpVersion, port: u16) -> SocketAddr {
        (self.hosts.server_ip(version), port).into()
    }

    /// A listener of the server on a port of the kernel's choice.
    pub(crate) fn listen(&self, version: IpVersion) -> TcpListener {
        listen(self.hosts.server(), self.server_address(version, 0))
    }

    /// A listener that lets others share its port.
    pub(crate) fn listen_sharing(&self, version: IpVersion) -> TcpListener {
        let address = self.server_address(version, 0);
        self.hosts.server().run(|| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.listen(libc::SOMAXCONN).unwrap();
            socket.into()
        })
    }

    /// Opens a connection as `tenant`, from the client.
    pub(crate) fn connect(&self, server: SocketAddr, tenant: u32) -> TcpStream {
        let from = client_address(version_of(server), tenant, 0);
        connect(self.hosts.client(), from, server)
    }

    /// Puts a segment on the wire to the server, as if the client had sent it.
    pub(crate) fn inject(&self, frame: &Frame, flags: TcpFlags, payload: &[u8]) {
        let (from, to) = (self.hosts.client_link(), self.hosts.server_link());
        let frame = frame.clone().macs(from.mac(), to.mac());
        send_frame(from, &frame.tcp(flags, payload));
    }

    /// The same with a datagram.
    pub(crate) fn inject_datagram(&self, frame: &Frame, payload: &[u8]) {
        let (from, to) = (self.hosts.client_link(), self.hosts.server_link());
        let frame = frame.clone().macs(from.mac(), to.mac());
        send_frame(from, &frame.udp(payload));
    }

    /// A segment over the server's loopback device, where nothing is labelled.
    pub(crate) fn inject_on_loopback(&self, frame: &Frame, flags: TcpFlags, payload: &[u8]) {
        let link = self.loopback();
        let frame = frame.clone().macs(link.mac(), link.mac());
        send_frame(&link, &frame.tcp(flags, payload));
    }

    /// Makes an address of the client one of the server: what comes from there is not labelled.
    pub(crate) fn move_to_server(&self, client: IpAddr) {
        let length = if client.is_ipv4() { 32 } else { 128 };
        self.loopback().add_address(client, length).unwrap();
    }

    fn loopback(&self) -> Link {
        Link::find(self.hosts.server(), "lo").unwrap()
    }

    /// From now on the server's packets to this address of the client get lost.
    pub(crate) fn lose_what_is_sent_to(&self, client: IpAddr) {
        add_neighbour(&self.hosts, client, packet::DEFAULT_DESTINATION_MAC);
    }

    /// From now on they arrive again.
    pub(crate) fn find(&self, client: IpAddr) {
        add_neighbour(&self.hosts, client, self.hosts.client_link().mac());
    }

    /// A socket of the server on a port of the kernel's choice.
    pub(crate) fn udp_server(&self, version: IpVersion) -> UdpSocket {
        self.udp_server_at(self.server_address(version, 0), |_| Ok(()))
    }

    /// A socket of the server that is prepared before it is bound.
    pub(crate) fn udp_server_at(
        &self,
        address: SocketAddr,
        prepare: impl FnOnce(&Socket) -> io::Result<()> + Send,
    ) -> UdpSocket {
        self.hosts.server().run(|| {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
            prepare(&socket).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            socket.into()
        })
    }

    /// A socket of the client that sends as `tenant`.
    pub(crate) fn udp_client(&self, version: IpVersion, tenant: u32) -> UdpSocket {
        let address = (tenant_address(version, tenant), 0);
        let socket = self.hosts.client().run(|| UdpSocket::bind(address));
        socket.unwrap()
    }
}

/// What the fields of applications are.
pub(crate) fn app_schema() -> Schema {
    Schema::parse("app.toml", APP_SCHEMA).unwrap()
}

/// Takes the datapath away.
pub(crate) fn down(sandbox: &Sandbox) {
    let datapath = Datapath::new(sandbox.bpffs());
    datapath.down(Part::Everything).unwrap();
}

/// A TCP socket with an address, whose calls take at most [`LIMIT`]. The sockets that a listener
/// accepts take after it.
pub(crate) fn tcp_socket(netns: &Netns, address: SocketAddr) -> Socket {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    })
}

/// A listener with room for as many connections as the kernel lets it have.
pub(crate) fn listen(netns: &Netns, address: SocketAddr) -> TcpListener {
    let socket = tcp_socket(netns, address);
    socket.listen(libc::SOMAXCONN).unwrap();
    socket.into()
}

/// Opens a connection from one address to another.
pub(crate) fn connect(netns: &Netns, from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = tcp_socket(netns, from);
    socket.connect_timeout(&to.into(), LIMIT).unwrap();
    socket.into()
}

/// The packet was labelled as one of `tenant`.
#[track_caller]
pub(crate) fn assert_labelled(meta: &PacketMeta, tenant: u32) {
    assert_eq!(meta.get(TENANT), Some(tenant), "{meta:?}");
}

/// An address of the client, beside the two hosts' own.
pub(crate) fn tenant_address(version: IpVersion, tenant: u32) -> IpAddr {
    let host = 100 + tenant as u8;
    match version {
        IpVersion::V4 => Ipv4Addr::new(192, 0, 2, host).into(),
        IpVersion::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
    }
}

/// An address of the client that is labelled as `tenant`.
pub(crate) fn client_address(version: IpVersion, tenant: u32, port: u16) -> SocketAddr {
    (tenant_address(version, tenant), port).into()
}

/// Makes the ring of the datapath one that this process cannot map. Before it uses threads.
pub(crate) fn hide_the_ring() {
    // SAFETY: this process runs this one test, none of whose threads is running yet.
    unsafe { std::env::set_var("PKTMETA_BPFFS", "/nonexistent") };
}

/// Sets a socket option that is a number.
#[track_caller]
pub(crate) fn set_option(socket: impl AsFd, level: i32, name: i32, value: i32) {
    // SAFETY: the option's value is an int, of the size that is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// The value of a socket option.
pub(crate) fn get_option(socket: impl AsFd, level: i32, name: i32) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 256];
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    value.truncate(length as usize);
    Ok(value)
}

/// Runs a closure in a process of its own, which has the descriptors of this one.
#[track_caller]
pub(crate) fn in_child(body: impl FnOnce()) {
    // SAFETY: the other threads of a test wait for this one, so that no lock stays held in the
    // child for ever, and glibc itself takes care of the allocator's.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", io::Error::last_os_error());
    if child == 0 {
        let done = panic::catch_unwind(panic::AssertUnwindSafe(body));
        // SAFETY: it ends this process, and runs nothing of the parent's on the way.
        unsafe { libc::_exit(i32::from(done.is_err())) }
    }
    let mut status = 0;
    // SAFETY: the kernel writes an int; the child is ours and was not waited for.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((ended, status), (child, 0), "the child failed");
}

/// Whose address this is.
pub(crate) fn tenant_of(client: SocketAddr) -> u32 {
    let version = version_of(client);
    let mut tenants = Lab::TENANTS;
    let found = tenants.find(|&tenant| tenant_address(version, tenant) == client.ip());
    found.unwrap_or_else(|| panic!("{client} is no tenant's"))
}

/// The version of an address.
pub(crate) fn version_of(address: SocketAddr) -> IpVersion {
    match address {
        SocketAddr::V4(_) => IpVersion::V4,
        SocketAddr::V6(_) => IpVersion::V6,
    }
}

pub(crate) fn send_frame(link: &Link, frame: &[u8]) {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: any bytes are a `sockaddr_ll`.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = link.ifindex() as i32;
    // SAFETY: it is a `sockaddr_ll`.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) };
    let socket = || Socket::new(Domain::PACKET, Type::RAW, None);
    let socket = link.netns().run(socket).unwrap();
    assert_eq!(socket.send_to(frame, &address).unwrap(), frame.len());
}

fn add_neighbour(hosts: &TwoHosts, client: IpAddr, mac: Mac) {
    hosts.server_link().add_neighbour(client, mac).unwrap();
}

fn labels(tenant: u32) -> impl Iterator<Item = Label> {
    IpVersion::BOTH.into_iter().map(move |version| {
        let address = tenant_address(version, tenant);
        format!("{address}=tenant:{tenant}").parse().unwrap()
    })
}
