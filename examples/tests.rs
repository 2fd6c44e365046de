//! Runs each example on real traffic.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "tests/languages.rs"]
mod languages;
#[path = "tests/rust.rs"]
mod rust;
#[path = "tests/seccomp.rs"]
mod seccomp;
#[path = "tests/survive.rs"]
mod survive;

use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{Datapath, HostRegistry, Object, ObjectOptions, UpOptions};
use pktmeta_core::{abi, builtin, schema::Schema};
use pktmeta_testkit::{
    link::TwoHosts,
    packet,
    prog_run::{XdpRun, XdpVerdict},
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, BorrowedFd},
    process::{Child, Command, Stdio},
    time::Duration,
};

const BILL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bill.bpf.o"));
const STEER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));
const EDGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/edge.bpf.o"));
const DNS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dns.bpf.o"));
const SCHEMA: &str = include_str!("edge.toml");

#[test]
fn the_rust_server_says_what_came_with_a_datagram_and_with_a_connection() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_echo"));
        let mut server = Server::start(command.arg("192.0.2.2:7000"));
        send_datagram(&hosts);
        let said = server.line();
        assert!(
            said.contains(&came_in(&hosts)) && said.contains("tenant"),
            "{said}"
        );
        let mut stream = connect(&hosts);
        stream.write_all(b"hi").unwrap();
        let said = server.line();
        assert!(said.starts_with("connection from 192.0.2.1"), "{said}");
        assert!(
            said.contains(&came_in(&hosts)) && said.contains("tenant"),
            "{said}"
        );
    });
}

#[test]
fn the_python_server_reads_a_connections_record_without_a_library() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/read_record.py");
        let mut command = hosts.server().command("python3");
        let mut server = Server::start(command.args([script, "192.0.2.2", "7000"]));
        let _stream = connect(&hosts);
        let said = server.rest();
        assert!(
            said.contains(&format!("rx_ifindex = {}\n", hosts.server_ifindex())),
            "{said}"
        );
        assert!(said.contains("tenant = 7\n"), "{said}");
    });
}

#[test]
fn the_bpf_programs_set_and_get_a_field_by_its_name() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let registry = hosts
            .server()
            .run(|| Datapath::default().registry().read())
            .unwrap();
        let options = ObjectOptions {
            registry: Some(&registry),
            ..Default::default()
        };
        let object = Object::load("steer", STEER, &options).unwrap();

        let frame = packet::udp(
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
            b"payload",
        );
        let run = XdpRun::new(object.program("label").unwrap())
            .packet(&frame)
            .run()
            .unwrap();
        assert_eq!(run.verdict, XdpVerdict::Pass);
        assert_eq!(run.packet, frame);
        let tenant = registry.by_name("tenant").unwrap().tag();
        let record = registry.secret().unwrap().open(&run.metadata).unwrap();
        assert_eq!(record.get(tenant), Some(&7u32.to_le_bytes()[..]));

        // TC, behind the programs of `up` on the same interface: the socket sees the priority.
        let steer = object.program("steer").unwrap();
        hosts
            .server()
            .run(|| attach(steer, hosts.server_ifindex(), libbpf_sys::BPF_TCX_INGRESS));
        let socket = hosts
            .server()
            .run(|| UdpSocket::bind("192.0.2.2:7000"))
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        receive_priority(&socket);
        send_datagram(&hosts);
        assert_eq!(priority(&socket), Some(7));
    });
}

/// The tests of `pktmeta bind` do the same with bpftool and with iproute2.
#[test]
fn programs_of_two_owners_read_each_others_fields_on_one_interface() {
    in_sandbox(|_| {
        let schemas = [
            ("edge.toml", include_str!("bpf/two_owners/edge.toml")),
            ("dns.toml", include_str!("bpf/two_owners/dns.toml")),
        ];
        let host = HostRegistry::default();
        for (file, text) in schemas {
            host.register(&[Schema::parse(file, text).unwrap()])
                .unwrap();
        }
        let registry = host.read().unwrap();
        let options = ObjectOptions {
            registry: Some(&registry),
            ..Default::default()
        };
        let edge = Object::load("edge", EDGE, &options).unwrap();
        let dns = Object::load("dns", DNS, &options).unwrap();
        let hosts = TwoHosts::new().unwrap();
        let socket = hosts.server().run(|| {
            let (ifindex, tcx) = (hosts.server_ifindex(), libbpf_sys::BPF_TCX_INGRESS);
            attach(
                edge.program("edge_label").unwrap(),
                ifindex,
                libbpf_sys::BPF_XDP,
            );
            attach(dns.program("dns_zone").unwrap(), ifindex, tcx);
            attach(edge.program("edge_route").unwrap(), ifindex, tcx);
            UdpSocket::bind("192.0.2.2:7000").unwrap()
        });
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        receive_priority(&socket);
        send_datagram(&hosts);
        // The zone that dns gave to the tenant that edge gave to the packet.
        assert_eq!(priority(&socket), Some(507));
    });
}

#[test]
fn a_bpf_program_that_was_not_bound_touches_no_field() {
    in_sandbox(|_| {
        let object = Object::load("steer", STEER, &ObjectOptions::default()).unwrap();
        let frame = [0; 64];
        let run = XdpRun::new(object.program("label").unwrap())
            .packet(&frame)
            .run()
            .unwrap();
        assert_eq!(run.verdict, XdpVerdict::Pass, "it costs nobody a packet");
        assert_eq!(run.metadata, []);
    });
}

#[test]
fn a_bpf_program_that_disagrees_about_a_fields_size_does_not_load() {
    in_sandbox(|_| {
        let schema = SCHEMA.replace("u32", "u64");
        let mut registry = pktmeta_core::Registry::new();
        for field in Schema::parse("edge.toml", &schema).unwrap().fields() {
            registry.register(&field.wanted).unwrap();
        }
        let options = ObjectOptions {
            registry: Some(&registry),
            ..Default::default()
        };
        let error = Object::load("steer", STEER, &options)
            .unwrap_err()
            .to_string();
        for part in ["steer", "tenant", "4 bytes", "edge", "u64", "8"] {
            assert!(error.contains(part), "{error}");
        }
    });
}

#[test]
fn what_leaves_is_billed_to_the_tenant_that_the_application_named() {
    const HEADERS: u64 = 20 + 8;
    const ETHERNET: u64 = 14;
    for (name, place, headers) in [
        (
            "bill_interface",
            libbpf_sys::BPF_TCX_EGRESS,
            ETHERNET + HEADERS,
        ),
        ("bill_cgroup", libbpf_sys::BPF_CGROUP_INET_EGRESS, HEADERS),
    ] {
        in_sandbox(|sandbox| {
            let hosts = labelled_hosts(sandbox);
            let bill = Bill::new(sandbox);
            match place {
                libbpf_sys::BPF_TCX_EGRESS => hosts
                    .server()
                    .run(|| attach(bill.program(name), hosts.server_ifindex(), place)),
                _ => bill.attach_to_cgroup(sandbox),
            }

            let socket = hosts.server().run(|| UdpSocket::bind("192.0.2.2:0"));
            let socket = socket.unwrap();
            let to = "192.0.2.1:9";
            socket.send_to(&[0; 100], to).unwrap();
            assert_eq!(bill.of(7), None, "nobody named a tenant");
            let registry = HostRegistry::default().read().unwrap();
            let field = registry.by_name("tenant").unwrap().tlv.get();
            let option = abi::PKTMETA_TX_FIELD + i32::from(field);
            set_option(&socket, option, &7u32.to_le_bytes());
            socket.send_to(&[0; 100], to).unwrap();
            socket.send_to(&[0; 20], to).unwrap();
            assert_eq!(bill.of(7), Some(2 * headers + 120));
            set_option(&socket, option, &8u32.to_le_bytes());
            socket.send_to(&[0; 30], to).unwrap();
            assert_eq!(bill.of(8), Some(headers + 30));
            assert_eq!(bill.of(7), Some(2 * headers + 120), "as before");

            // At TC egress a SYN-ACK is nobody's yet; what the connection sends then is its own.
            let listener = hosts.server().run(|| TcpListener::bind("192.0.2.2:7000"));
            let listener = listener.unwrap();
            set_option(&listener, option, &9u32.to_le_bytes());
            let _client = connect(&hosts);
            let (mut connection, _) = listener.accept().unwrap();
            let handshake = bill.of(9).unwrap_or(0);
            assert_eq!(handshake > 0, name == "bill_cgroup");
            connection.write_all(&[0; 1000]).unwrap();
            let data = bill.of(9).unwrap() - handshake;
            assert!((1000..1100).contains(&data), "{data} bytes");
        });
    }
}

/// What the programs of `bill.bpf.c` count.
struct Bill {
    object: Object,
}

impl Bill {
    fn new(sandbox: &Sandbox) -> Self {
        let registry = HostRegistry::default().read().unwrap();
        let maps = sandbox.bpffs().join("pktmeta/maps");
        let options = ObjectOptions {
            registry: Some(&registry),
            pins: ["pktmeta_tx", "pktmeta_tx_tickets"]
                .map(|map| (map, maps.join(map)))
                .into(),
            ..Default::default()
        };
        let object = Object::load("bill", BILL, &options).unwrap();
        Self { object }
    }

    fn program(&self, name: &str) -> BorrowedFd<'_> {
        self.object.program(name).unwrap()
    }

    /// Bills what the sandbox's processes send, whatever their network namespace.
    fn attach_to_cgroup(&self, sandbox: &Sandbox) {
        let cgroup = std::fs::File::open(sandbox.cgroup()).unwrap();
        attach(
            self.program("bill_cgroup"),
            cgroup.as_raw_fd() as u32,
            libbpf_sys::BPF_CGROUP_INET_EGRESS,
        );
    }

    /// The bytes that a tenant sent.
    fn of(&self, tenant: u32) -> Option<u64> {
        let bill = self.object.map("bill").unwrap();
        let bytes = bill.lookup(&tenant.to_ne_bytes(), MapFlags::ANY).unwrap();
        bytes.map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap()))
    }
}

/// Two hosts, of which the server labels what it receives from the client with tenant 7, by IPv6 8.
fn labelled_hosts(sandbox: &Sandbox) -> TwoHosts {
    let hosts = TwoHosts::new().unwrap();
    let options = options(sandbox);
    hosts
        .server()
        .run(|| Datapath::default().up(&options))
        .unwrap();
    hosts
}

/// What the server's datapath does.
fn options(sandbox: &Sandbox) -> UpOptions {
    let mut options = UpOptions::new(TwoHosts::SERVER_LINK);
    options.cgroup = Some(sandbox.cgroup().into());
    options.schemas = vec![Schema::parse("edge.toml", SCHEMA).unwrap()];
    options.produce = builtin::NAMES.map(String::from).into();
    let labels = ["192.0.2.0/24=tenant:7", "2001:db8::/32=tenant:8"];
    options.labels = Some(labels.map(|label| label.parse().unwrap()).into());
    options
}

fn came_in(hosts: &TwoHosts) -> String {
    format!("came in by interface {};", hosts.server_ifindex())
}

fn send_datagram(hosts: &TwoHosts) {
    let socket = hosts
        .client()
        .run(|| UdpSocket::bind("192.0.2.1:0"))
        .unwrap();
    socket.send_to(b"hello", "192.0.2.2:7000").unwrap();
}

fn connect(hosts: &TwoHosts) -> TcpStream {
    hosts
        .client()
        .run(|| TcpStream::connect("192.0.2.2:7000"))
        .unwrap()
}

/// An example that serves until it is dropped.
struct Server {
    process: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, stdout };
        assert_eq!(server.line(), "listening\n");
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The link lives as long as the sandbox.
fn attach(program: BorrowedFd<'_>, ifindex: u32, place: libbpf_sys::bpf_attach_type) {
    // SAFETY: no options are passed.
    let link = unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex as i32, place, std::ptr::null())
    };
    assert!(link >= 0, "{}", std::io::Error::last_os_error());
}

fn set_option(socket: &impl AsRawFd, option: i32, value: &[u8]) {
    // SAFETY: the kernel reads as many bytes as value has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            abi::SOL_PKTMETA,
            option,
            value.as_ptr().cast(),
            value.len() as u32,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

const SO_RCVPRIORITY: i32 = 82;

fn receive_priority(socket: &UdpSocket) {
    let on = 1i32;
    // SAFETY: the option's value is an int, of the size that is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_RCVPRIORITY,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// The priority of the next datagram.
fn priority(socket: &UdpSocket) -> Option<u32> {
    let mut control = [0u64; 8];
    let mut payload = [0u8; 64];
    let mut part = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: size_of_val(&payload),
    };
    // SAFETY: zeros are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: message points to buffers of the lengths it says, which outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
    assert!(received >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel filled the control buffer, which has room for one aligned message.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message).as_ref() }?;
    let found = (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SO_PRIORITY);
    // SAFETY: a priority's data is a u32, which may be unaligned.
    found.then(|| unsafe { libc::CMSG_DATA(header).cast::<u32>().read_unaligned() })
}
