//! Servers that serve while the datapath goes and another comes, with other numbers for the same
//! fields.

use crate::{Server, labelled_hosts, options};
use pktmeta_bpf::{Datapath, Part, UpOptions};
use pktmeta_core::schema::Schema;
use pktmeta_testkit::{
    link::TwoHosts,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

const SERVER: &str = "192.0.2.2:7000";
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_rust_servers_serve_on_while_the_datapath_is_replaced() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let (described, counted) = ("\"tenant\": Unsigned(7)", "of tenant Some(7)");
        for (program, ask, labelled) in [
            (env!("CARGO_BIN_EXE_echo"), ask_udp as Ask, described),
            (env!("CARGO_BIN_EXE_echo"), ask_tcp, described),
            (env!("CARGO_BIN_EXE_answer"), ask_udp, counted),
            (env!("CARGO_BIN_EXE_datagrams"), ask_udp, counted),
        ] {
            let mut command = hosts.server().command(program);
            survives(sandbox, &hosts, command.arg(SERVER), ask, labelled);
        }
    });
}

/// Asks a server something, which answers.
pub(crate) type Ask = fn(&TwoHosts);

pub(crate) fn ask_udp(hosts: &TwoHosts) {
    let socket = tell(hosts);
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 5);
}

/// Expects no answer.
pub(crate) fn tell_udp(hosts: &TwoHosts) {
    tell(hosts);
}

fn tell(hosts: &TwoHosts) -> UdpSocket {
    let socket = hosts.client().run(|| UdpSocket::bind("192.0.2.1:0"));
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.send_to(b"hello", SERVER).unwrap();
    socket
}

pub(crate) fn ask_tcp(hosts: &TwoHosts) {
    let stream = hosts.client().run(|| TcpStream::connect(SERVER));
    let mut stream = stream.unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}

/// Asks a server all the time, and takes the datapath down and up meanwhile: each question is
/// answered, and what the server says of it, in one line, has `labelled` in it before, not while
/// there is no datapath, and again after.
pub(crate) fn survives(
    sandbox: &Sandbox,
    hosts: &TwoHosts,
    command: &mut Command,
    ask: Ask,
    labelled: &str,
) {
    let mut server = Server::start(command);
    let said = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let datapath = |act: fn(&Datapath, &UpOptions), options: &UpOptions| {
        hosts.server().run(|| act(&Datapath::default(), options));
        said.lock().unwrap_or_else(PoisonError::into_inner).clear();
    };
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !stop.load(SeqCst) {
                ask(hosts);
                let line = server.line();
                said.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let until = |is: bool| {
            let start = Instant::now();
            loop {
                let last = said
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .last()
                    .cloned();
                if last
                    .as_ref()
                    .is_some_and(|last| last.contains(labelled) == is)
                {
                    return;
                }
                if asking.is_finished() || start.elapsed() > LIMIT {
                    stop.store(true, SeqCst);
                    panic!("labelled: {is} was not to be; the last was {last:?}");
                }
                thread::sleep(Duration::from_millis(5));
            }
        };
        until(true);
        for again in 1..=2 {
            datapath(
                |datapath, _| drop(datapath.down(Part::Everything).unwrap()),
                &options(sandbox),
            );
            until(false);
            let mut next = options(sandbox);
            // Fields that come first, so that all others have other numbers than before.
            let first: String = (0..again)
                .map(|at| format!("[[field]]\nname = \"first{at}\"\ntype = \"u32\"\n"))
                .collect();
            let first = format!("owner = \"another\"\n{first}");
            next.schemas
                .insert(0, Schema::parse("first.toml", &first).unwrap());
            datapath(
                |datapath, options| drop(datapath.up(options).unwrap()),
                &next,
            );
            until(true);
        }
        stop.store(true, SeqCst);
        asking.join().unwrap();
    });
}
