//! The examples in Python, C and Go, on both versions of IP: what they read, and what is billed of
//! what they send.

use crate::{
    Bill, Server, labelled_hosts, options,
    survive::{Ask, ask_tcp, ask_udp, survives, tell_udp},
};
use pktmeta_bpf::{Datapath, HostRegistry, Part};
use pktmeta_codegen::{Input, Language, generate};
use pktmeta_core::schema::Schema;
use pktmeta_testkit::{
    link::{IpVersion, TwoHosts},
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const PORT: u16 = 7000;
const README: &str = include_str!("../../README.md");

#[test]
fn python_answers_connections_as_the_tenant_that_asks() {
    in_sandbox(|sandbox| {
        answers_connections(sandbox, &python("python-tcp", "tcp.py"), thrice);
    });
}

#[test]
fn c_answers_connections_as_the_tenant_that_asks() {
    in_sandbox(|sandbox| {
        answers_connections(sandbox, &c("c-tcp", "tcp"), thrice);
    });
}

#[test]
fn go_answers_connections_as_the_tenant_that_asks() {
    in_sandbox(|sandbox| {
        answers_connections(sandbox, &go("go-tcp", "tcp"), thrice);
    });
}

#[test]
fn python_goes_on_by_name_with_a_datapath_that_has_other_numbers() {
    in_sandbox(|sandbox| serves_on(sandbox, &python("python-tcp-on", "tcp.py"), thrice));
}

#[test]
fn c_goes_on_by_name_with_a_datapath_that_has_other_numbers() {
    in_sandbox(|sandbox| serves_on(sandbox, &c("c-tcp-on", "tcp"), thrice));
}

#[test]
fn go_goes_on_by_name_with_a_datapath_that_has_other_numbers() {
    in_sandbox(|sandbox| serves_on(sandbox, &go("go-tcp-on", "tcp"), thrice));
}

#[test]
fn asyncio_goes_on_by_name_with_a_datapath_that_has_other_numbers() {
    in_sandbox(|sandbox| {
        let program = python("asyncio-on", "asyncio_echo.py");
        serves_on(sandbox, &program, |tenant, _| format!("tenant {tenant}\n"));
    });
}

#[test]
fn asyncio_answers_connections_as_the_tenant_that_asks() {
    in_sandbox(|sandbox| {
        let program = python("asyncio-tcp", "asyncio_echo.py");
        answers_connections(sandbox, &program, |tenant, _| format!("tenant {tenant}\n"));
    });
}

#[test]
fn python_answers_datagrams_as_the_tenants_that_ask() {
    in_sandbox(|sandbox| answers_datagrams(sandbox, &python("python-udp", "udp.py")));
}

#[test]
fn python_answers_datagrams_without_privileges() {
    in_sandbox(|sandbox| {
        let program = python("python-udp-unprivileged", "udp.py");
        answers_datagrams(sandbox, &program.unprivileged());
    });
}

#[test]
fn c_answers_datagrams_as_the_tenants_that_ask() {
    in_sandbox(|sandbox| answers_datagrams(sandbox, &c("c-udp", "udp")));
}

#[test]
fn c_answers_datagrams_without_privileges() {
    in_sandbox(|sandbox| {
        answers_datagrams(sandbox, &c("c-udp-unprivileged", "udp").unprivileged());
    });
}

#[test]
fn go_answers_datagrams_as_the_tenants_that_ask() {
    in_sandbox(|sandbox| answers_datagrams(sandbox, &go("go-udp", "udp")));
}

#[test]
fn asyncio_answers_datagrams_as_the_tenants_that_ask() {
    in_sandbox(|sandbox| answers_datagrams(sandbox, &python("asyncio-udp", "asyncio_echo.py")));
}

#[test]
fn c_reads_datagrams_records_from_the_ring() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let program = c("c-ring", "ring");
        for version in IpVersion::BOTH {
            let server_ip = hosts.server_ip(version);
            let mut server = Server::start(&mut program.on_server(&hosts, server_ip));
            let client = udp_client(&hosts, version);
            for _ in 0..3 {
                client.send_to(b"hello", (server_ip, PORT)).unwrap();
                assert_eq!(server.line(), tenant_line(&hosts, version));
            }
        }
    });
}

#[test]
fn python_serves_on_while_the_datapath_is_replaced() {
    in_sandbox(|sandbox| {
        let udp = || python("python-udp-replaced", "udp.py");
        let programs = [
            (python("python-tcp-replaced", "tcp.py"), ask_tcp as Ask),
            (udp(), ask_udp),
            (udp().unprivileged(), ask_udp),
        ];
        serve_while_replaced(sandbox, &programs);
    });
}

#[test]
fn asyncio_serves_on_while_the_datapath_is_replaced() {
    in_sandbox(|sandbox| {
        let program = || python("asyncio-replaced", "asyncio_echo.py");
        let programs = [(program(), ask_tcp as Ask), (program(), ask_udp)];
        serve_while_replaced(sandbox, &programs);
    });
}

#[test]
fn go_serves_on_while_the_datapath_is_replaced() {
    in_sandbox(|sandbox| {
        let programs = [
            (go("go-tcp-replaced", "tcp"), ask_tcp as Ask),
            (go("go-udp-replaced", "udp"), ask_udp),
        ];
        serve_while_replaced(sandbox, &programs);
    });
}

#[test]
fn c_serves_on_while_the_datapath_is_replaced() {
    in_sandbox(|sandbox| {
        let udp = || c("c-udp-replaced", "udp");
        let programs = [
            (c("c-tcp-replaced", "tcp"), ask_tcp as Ask),
            (udp(), ask_udp),
            (udp().unprivileged(), ask_udp),
            (c("c-ring-replaced", "ring"), tell_udp),
        ];
        serve_while_replaced(sandbox, &programs);
    });
}

fn serve_while_replaced(sandbox: &Sandbox, programs: &[(Program, Ask)]) {
    let hosts = labelled_hosts(sandbox);
    for (program, ask) in programs {
        let mut command = program.on_server(&hosts, hosts.server_ip(IpVersion::V4));
        survives(sandbox, &hosts, &mut command, *ask, "tenant 7");
    }
}

#[test]
fn the_python_examples_use_values_as_what_they_are() {
    let program = python("python-types", "");
    run(Command::new("mypy")
        .current_dir(examples().join("python"))
        .args(["--check-untyped-defs", "--cache-dir=/dev/null", "."])
        .env("MYPYPATH", program.directory));
}

#[test]
fn the_python_of_the_readme_reads_and_answers() {
    in_sandbox(|sandbox| {
        let (_, rest) = README.split_once("```python\n").unwrap();
        let (snippet, _) = rest.split_once("```").unwrap();
        let script = [
            "import socket, sys",
            "address = (sys.argv[1], int(sys.argv[2]))",
            "family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET",
            "listener = socket.create_server(address, family=family)",
            "print('listening', flush=True)",
            "connection, peer = listener.accept()",
            snippet,
            "print(f'{peer[0]}: tenant {tenant}', flush=True)",
            "connection.sendall(connection.recv(100))",
            "connection.recv(1)",
        ];
        let program = python_with("python-readme", ["-c".into(), script.join("\n").into()]);
        answers_connections(sandbox, &program, |tenant, _| format!("tenant {tenant}\n"));
    });
}

#[test]
fn python_connects_as_the_tenant_that_it_names() {
    in_sandbox(|sandbox| connects(sandbox, &python("python-connect", "connect.py")));
}

#[test]
fn c_connects_as_the_tenant_that_it_names() {
    in_sandbox(|sandbox| connects(sandbox, &c("c-connect", "connect")));
}

#[test]
fn go_connects_as_the_tenant_that_it_names() {
    in_sandbox(|sandbox| connects(sandbox, &go("go-connect", "connect")));
}

#[test]
fn programs_that_are_given_no_address_say_how_they_are_used() {
    let programs = [
        python("python-tcp-usage", "tcp.py"),
        python("python-udp-usage", "udp.py"),
        python("python-connect-usage", "connect.py"),
        python("asyncio-usage", "asyncio_echo.py"),
        python("python-read-record-usage", "read_record.py"),
        c("c-tcp-usage", "tcp"),
        c("c-udp-usage", "udp"),
        c("c-connect-usage", "connect"),
        c("c-ring-usage", "ring"),
        go("go-tcp-usage", "tcp"),
        go("go-udp-usage", "udp"),
        go("go-connect-usage", "connect"),
    ];
    for program in programs {
        let (name, arguments) = program.command.split_first().unwrap();
        let mut command = Command::new(name);
        command.args(arguments).env("PYTHONPATH", program.directory);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("usage: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// What servers say that ask for the same in three ways.
fn thrice(tenant: u32, ifindex: u32) -> String {
    format!("tenant {tenant}; alone {tenant}; selected {tenant}, None, interface {ifindex}\n")
}

/// Connects to a server that says of its connections what is expected of a tenant and an interface.
fn answers_connections(
    sandbox: &Sandbox,
    program: &Program,
    expected: impl Fn(u32, u32) -> String,
) {
    let hosts = labelled_hosts(sandbox);
    let bill = Bill::new(sandbox);
    bill.attach_to_cgroup(sandbox);
    for version in IpVersion::BOTH {
        let server_ip = hosts.server_ip(version);
        let mut server = Server::start(&mut program.on_server(&hosts, server_ip));
        let client = hosts.client().run(|| TcpStream::connect((server_ip, PORT)));
        let mut client = client.unwrap();
        let tenant = tenant(version);
        let expected = expected(tenant, hosts.server_ifindex());
        let peer = hosts.client_ip(version);
        assert_eq!(server.line(), format!("{peer}: {expected}"));
        assert_eq!(bill.of(tenant), None, "nothing was answered");
        client.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        let least = ip_header(version) + 20 + 5;
        assert!(bill.of(tenant) >= Some(least), "{:?}", bill.of(tenant));
    }
}

/// A server goes on while its datapath goes down and another comes up, in which the tenant's number
/// is that of another field of the same type, with another value.
fn serves_on(sandbox: &Sandbox, program: &Program, expected: impl Fn(u32, u32) -> String) {
    const DECOY: &str = "owner = \"decoy\"\n[[field]]\nname = \"decoy\"\ntype = \"u32\"\n\
                         writers = [\"xdp\", \"app\"]\n";
    let hosts = labelled_hosts(sandbox);
    let version = IpVersion::V4;
    let (server_ip, peer) = (hosts.server_ip(version), hosts.client_ip(version));
    let mut server = Server::start(&mut program.on_server(&hosts, server_ip));
    let expected = expected(tenant(version), hosts.server_ifindex());
    let serve = |server: &mut Server| {
        let client = hosts.client().run(|| TcpStream::connect((server_ip, PORT)));
        let mut client = client.unwrap();
        assert_eq!(server.line(), format!("{peer}: {expected}"));
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    };
    let registry = || HostRegistry::default().read().unwrap();
    let before = registry().by_name("tenant").unwrap().tlv;
    serve(&mut server);
    hosts
        .server()
        .run(|| Datapath::default().down(Part::Everything))
        .unwrap();
    let mut options = options(sandbox);
    options
        .schemas
        .insert(0, Schema::parse("decoy.toml", DECOY).unwrap());
    let decoy = "192.0.2.0/24=decoy:99".parse().unwrap();
    options.labels.get_or_insert_default().push(decoy);
    let up = || Datapath::default().up(&options);
    hosts.server().run(up).unwrap();
    let decoy = registry()
        .by_type(before)
        .map(|field| field.name.to_string());
    assert_eq!(decoy.as_deref(), Some("decoy"));
    let bill = Bill::new(sandbox);
    bill.attach_to_cgroup(sandbox);
    let mut billed = None;
    for _ in 0..2 {
        serve(&mut server);
        let now = bill.of(tenant(version));
        assert!(
            now > billed && bill.of(99).is_none(),
            "it answers as the tenant"
        );
        billed = now;
    }
}

/// Sends datagrams to a server, each of whose answers is billed, and says whose datagram it
/// answers.
fn answers_datagrams(sandbox: &Sandbox, program: &Program) {
    let hosts = labelled_hosts(sandbox);
    let bill = Bill::new(sandbox);
    bill.attach_to_cgroup(sandbox);
    for version in IpVersion::BOTH {
        let server_ip = hosts.server_ip(version);
        let mut server = Server::start(&mut program.on_server(&hosts, server_ip));
        let client = udp_client(&hosts, version);
        for answers in 1..=3 {
            client.send_to(b"hello", (server_ip, PORT)).unwrap();
            assert_eq!(server.line(), tenant_line(&hosts, version));
            assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
            let billed = answers * (ip_header(version) + 8 + 5);
            assert_eq!(bill.of(tenant(version)), Some(billed));
        }
    }
}

/// Has a program connect, and send 100 bytes as tenant 9 and 1000 as tenant 10.
fn connects(sandbox: &Sandbox, program: &Program) {
    let hosts = labelled_hosts(sandbox);
    let bill = Bill::new(sandbox);
    bill.attach_to_cgroup(sandbox);
    let mut billed = 0;
    for version in IpVersion::BOTH {
        let client_ip = hosts.client_ip(version);
        // Nobody listens yet: a SYN and no more.
        let mut refused = program.on_server(&hosts, client_ip);
        let refused = refused.stderr(Stdio::null()).status().unwrap();
        assert!(!refused.success());
        billed += ip_header(version) + 40;
        assert_eq!(bill.of(9), Some(billed), "the SYN");

        let listener = hosts
            .client()
            .run(|| TcpListener::bind((client_ip, PORT)))
            .unwrap();
        let before = bill.of(10).unwrap_or(0);
        let mut running = program.on_server(&hosts, client_ip);
        let mut running = running.stdout(Stdio::piped()).spawn().unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_exact(&mut [0; 100]).unwrap();
        let least = billed + 2 * (ip_header(version) + 20) + 100;
        assert!(bill.of(9) >= Some(least), "{:?}", bill.of(9));
        assert_eq!(bill.of(10).unwrap_or(0), before);
        peer.write_all(b"!").unwrap();
        peer.read_exact(&mut [0; 1000]).unwrap();
        let least = before + ip_header(version) + 20 + 1000;
        assert!(bill.of(10) >= Some(least), "{:?}", bill.of(10));
        let mut said = String::new();
        let mut stdout = running.stdout.take().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        assert_eq!(said, "tenant 10, bulk\n");
        assert!(running.wait().unwrap().success());
        billed = bill.of(9).unwrap();
    }
}

/// Whom the server's datapath takes the client for.
const fn tenant(version: IpVersion) -> u32 {
    match version {
        IpVersion::V4 => 7,
        IpVersion::V6 => 8,
    }
}

/// What servers say of the client.
fn tenant_line(hosts: &TwoHosts, version: IpVersion) -> String {
    format!("{}: tenant {}\n", hosts.client_ip(version), tenant(version))
}

const fn ip_header(version: IpVersion) -> u64 {
    match version {
        IpVersion::V4 => 20,
        IpVersion::V6 => 40,
    }
}

fn udp_client(hosts: &TwoHosts, version: IpVersion) -> UdpSocket {
    let address = (hosts.client_ip(version), 0);
    let socket = hosts.client().run(|| UdpSocket::bind(address)).unwrap();
    let limit = Some(Duration::from_secs(10));
    socket.set_read_timeout(limit).unwrap();
    socket
}

/// An example, ready to run.
struct Program {
    command: Vec<OsString>,
    /// Where Python finds the generated package.
    directory: PathBuf,
    /// `ADDRESS:PORT` rather than two arguments.
    joined: bool,
}

impl Program {
    /// What runs it with an address and the port.
    fn on_server(&self, hosts: &TwoHosts, address: IpAddr) -> Command {
        let mut command = hosts.server().command(&self.command[0]);
        command
            .args(&self.command[1..])
            .env("PYTHONPATH", &self.directory);
        match self.joined {
            true => command.arg(std::net::SocketAddr::from((address, PORT)).to_string()),
            false => command.args([address.to_string(), PORT.to_string()]),
        };
        command
    }

    /// The same without the capabilities that marks need.
    fn unprivileged(mut self) -> Self {
        let without = ["setpriv", "--bounding-set", "-net_raw,-net_admin"];
        self.command.splice(0..0, without.map(OsString::from));
        self
    }
}

fn python(test: &str, script: &str) -> Program {
    python_with(test, [examples().join("python").join(script).into()])
}

fn python_with<const N: usize>(test: &str, arguments: [OsString; N]) -> Program {
    let directory = directory(test);
    write(Language::Python, &directory.join("pktmeta"));
    let options = ["python3", "-B", "-W", "error"].map(OsString::from);
    Program {
        command: options.into_iter().chain(arguments).collect(),
        directory,
        joined: false,
    }
}

fn c(test: &str, name: &str) -> Program {
    let directory = directory(test);
    write(Language::C, &directory);
    let program = directory.join(name);
    run(Command::new("cc")
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(&directory)
        .arg("-I")
        .arg(examples().join("../crates/pktmeta-headers/include"))
        .arg("-o")
        .arg(&program)
        .arg(examples().join(format!("c/{name}.c"))));
    Program {
        command: vec![program.into()],
        directory,
        joined: false,
    }
}

fn go(test: &str, name: &str) -> Program {
    let directory = directory(test);
    write(Language::Go, &directory.join("pktmeta"));
    let module = examples().join("go");
    for file in ["go.mod", &format!("{name}/main.go")] {
        let to = directory.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(module.join(file), to).unwrap();
    }
    let package = format!("./{name}");
    for arguments in [
        ["vet", &package].as_slice(),
        &["build", "-o", "program", &package],
    ] {
        run(Command::new("go")
            .current_dir(&directory)
            .args(arguments)
            // Nothing is fetched.
            .envs([("GOTOOLCHAIN", "local"), ("GOPROXY", "off")])
            .env("GOCACHE", temporary().join("go-cache")));
    }
    let program = directory.join("program");
    Program {
        command: vec![program.into()],
        directory,
        joined: true,
    }
}

/// Writes what is generated from the examples' schema.
fn write(language: Language, directory: &Path) {
    let schema = Schema::parse("edge.toml", crate::SCHEMA).unwrap();
    fs::create_dir_all(directory).unwrap();
    for file in generate(language, &Input::new(vec![schema]).unwrap()).unwrap() {
        fs::write(directory.join(file.name), file.text).unwrap();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}: cargo xtask setup"));
    assert!(status.success(), "{command:?}");
}

/// An empty directory for a test.
fn directory(test: &str) -> PathBuf {
    let directory = temporary().join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn temporary() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn examples() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
