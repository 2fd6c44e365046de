//! Servers as people run them, asked by clients as people use them: all is the same with the
//! datapath and without, and `pktmeta sockets` has the records of connections of which the server
//! knows nothing.

mod go;
mod haproxy;
mod nginx;
mod unbound;

use crate::{
    command::{Run, Running, Scratch, pktmeta, text},
    lab::{Lab, eventually, tenant_address},
};
use pktmeta_testkit::{link::IpVersion, netns::Netns, sandbox::Sandbox};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
};

/// Where they listen.
const PORT: u16 = 8080;

struct Server<'a> {
    /// Runs it in the foreground.
    command: &'a [&'a str],
    /// Asks it what its clients ask, and returns what they are told.
    ask: &'a dyn Fn(&Client<'_>) -> String,
    /// A request that it answers, after which the connection stays open.
    question: &'a [u8],
}

/// Who asks.
struct Client<'a> {
    lab: &'a Lab,
    version: IpVersion,
    tenant: u32,
}

impl Server<'_> {
    /// Runs it without a datapath and with one, and compares.
    #[track_caller]
    fn is_the_same_with_a_datapath(&self, sandbox: &Sandbox) {
        let lab = Lab::new(sandbox);
        let without = self.run(&lab, |_, _| ());
        lab.try_up(&[]).succeeds();
        let with = self.run(&lab, assert_is_listed);
        for (one, other) in without.answers.iter().zip(&with.answers) {
            assert!(one == other, "without:\n{one}\nwith:\n{other}");
        }
        assert!(!without.calls.is_empty());
        let only_in = |these: &BTreeSet<_>, those: &BTreeSet<_>| -> Vec<String> {
            these.difference(those).cloned().collect()
        };
        assert!(
            without.calls == with.calls,
            "calls only without: {:#?}\nonly with: {:#?}",
            only_in(&without.calls, &with.calls),
            only_in(&with.calls, &without.calls),
        );
    }

    fn run(&self, lab: &Lab, look: impl Fn(&Client<'_>, &TcpStream)) -> Seen {
        let scratch = Scratch::new();
        let mut server = Traced::start(lab.hosts.server(), self.command, &scratch);
        let clients = IpVersion::BOTH.into_iter().flat_map(|version| {
            let client = move |tenant| Client {
                lab,
                version,
                tenant,
            };
            Lab::TENANTS.map(client)
        });
        let answers = clients.map(|client| {
            let answer = (self.ask)(&client);
            let mut connection = lab.connect_to(client.server(), client.tenant);
            connection.write_all(self.question).unwrap();
            connection.read_exact(&mut [0]).unwrap();
            look(&client, &connection);
            answer
        });
        let answers = answers.collect();
        Seen {
            answers,
            calls: server.stop(),
        }
    }
}

impl Client<'_> {
    fn server(&self) -> SocketAddr {
        self.lab.server_address(self.version, PORT)
    }

    fn address(&self) -> String {
        tenant_address(self.version, self.tenant).to_string()
    }

    fn url(&self, port: u16, path: &str) -> String {
        format!(
            "http://{}/{path}",
            self.lab.server_address(self.version, port)
        )
    }

    /// What curl gets from a URL of the server, headers and all but the time of day.
    #[track_caller]
    fn curl(&self, url: &str, arguments: &[&str]) -> String {
        let mut curl = self.lab.hosts.client().command("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "10"]);
        curl.args(["--interface", &self.address()]).args(arguments);
        let got = curl.arg(url).ran().succeeds();
        let lines = got.lines();
        let lines = lines.filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

/// What a run showed.
struct Seen {
    answers: Vec<String>,
    /// Each once: how often nginx sets an option depends on how fast its clients close.
    calls: BTreeSet<String>,
}

/// The record of a connection, of its first segment and of its latest, has the tenant of its
/// client.
#[track_caller]
fn assert_is_listed(client: &Client<'_>, connection: &TcpStream) {
    let ran = pktmeta(client.lab.hosts.server(), &["sockets", "--json"]).ran();
    let listed: Vec<Value> = serde_json::from_str(&ran.succeeds()).unwrap();
    let peer = connection.local_addr().unwrap().to_string();
    let mut of_it = listed.iter().filter(|socket| socket["peer"] == peer);
    let socket = of_it
        .next()
        .unwrap_or_else(|| panic!("no {peer} in {listed:#?}"));
    assert_eq!(socket["local"], client.server().to_string(), "{socket:#}");
    for record in ["syn", "latest"] {
        assert_eq!(socket[record]["tenant"], client.tenant, "{socket:#}");
    }
    assert!(of_it.next().is_none(), "{listed:#?}");
}

/// A server whose socket calls strace writes down.
struct Traced {
    server: Running,
    log: String,
}

impl Traced {
    const CALLS: &str = "trace=socket,bind,listen,accept,accept4,getsockopt,setsockopt";

    /// Starts it, and waits until it listens.
    #[track_caller]
    fn start(netns: &Netns, command: &[&str], scratch: &Scratch) -> Self {
        let log = text(scratch.path().join("calls"));
        let mut strace = netns.command("strace");
        // The server stays our child; each of its threads has a file.
        strace.args(["-D", "-ff", "-e", Self::CALLS, "-o", &log]);
        let server = strace.args(command).running();
        eventually("it listens", || listens(netns));
        Self { server, log }
    }

    /// Ends it: its calls with what came of them.
    fn stop(&mut self) -> BTreeSet<String> {
        self.server.signal(libc::SIGTERM);
        let main = format!("{}.{}", self.log, self.server.id());
        self.server.wait().unwrap();
        eventually("strace has written all", || {
            let log = fs::read_to_string(&main).unwrap();
            log.lines().any(|line| line.starts_with("+++"))
        });
        let directory = Path::new(&self.log).parent().unwrap();
        let logs = fs::read_dir(directory).unwrap();
        let logs = logs.map(|log| fs::read_to_string(log.unwrap().path()).unwrap());
        let calls = logs.flat_map(|log| log.lines().filter_map(call).collect::<Vec<_>>());
        calls.collect()
    }
}

/// A call in a line of strace's, without what chance decides: numbers of descriptors and of ports,
/// addresses in memory, and how often there was nothing to accept.
fn call(line: &str) -> Option<String> {
    // A call that the server's end cut short did nothing either.
    let nothing = ["= -1 EAGAIN", "<unfinished ...>"];
    if line.starts_with(['+', '-']) || nothing.iter().any(|it| line.contains(it)) {
        return None;
    }
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_start_matches(|descriptor: char| descriptor.is_ascii_digit());
    let by_chance = |argument: &&str| {
        let hex = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        argument.contains("htons(") || argument.strip_prefix("0x").is_some_and(hex)
    };
    let mut call = name.to_owned();
    for argument in arguments.split(", ").filter(|it| !by_chance(it)) {
        call += &format!(" {argument}");
    }
    match name {
        "socket" | "accept" | "accept4" if !result.starts_with('-') => Some(call),
        _ => Some(format!("{call} = {result}")),
    }
}

/// True once something listens at the port on IPv6, which each server does last.
fn listens(netns: &Netns) -> bool {
    let table = netns.run(|| fs::read_to_string("/proc/thread-self/net/tcp6"));
    let listening = format!(":{PORT:04X}");
    table.unwrap().lines().any(|socket| {
        let mut columns = socket.split_whitespace().skip(1);
        let local = columns.next().unwrap_or_default();
        local.ends_with(&listening) && columns.nth(1) == Some("0A")
    })
}
