//! Sockets that several threads, listeners or processes have.

use super::*;
use crate::lab::{in_child, tenant_of};
use pktmeta::Record;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use socket2::{Domain, Type};
use std::{
    io::IoSlice,
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

/// Connections of each tenant: so many in all that the kernel gives each listener some.
const EACH: usize = 5;

#[test]
fn listeners_of_a_group_accept_connections_with_their_own_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listeners = group(&lab, version, 4);
            let address = listeners[0].local_addr().unwrap();
            let tenants = Lab::TENANTS.flat_map(|tenant| [tenant; EACH]);
            let clients: Vec<_> = tenants.map(|tenant| lab.connect(address, tenant)).collect();
            let accepted = accept_from_any(&listeners, clients.len());
            assert!(
                accepted
                    .iter()
                    .filter(|accepted| !accepted.is_empty())
                    .count()
                    > 1
            );
            for socket in accepted.iter().flatten() {
                let peer = socket.peer_addr().unwrap();
                let of_peer = |client: &&TcpStream| client.local_addr().unwrap() == peer;
                let client = clients.iter().find(of_peer).unwrap();
                assert_ours(client, socket, tenant_of(peer));
            }
        }
    });
}

#[test]
fn a_connection_that_waits_moves_to_another_listener_with_its_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        set_sysctl(lab.hosts.server(), "tcp_migrate_req", "1");
        for version in IpVersion::BOTH {
            let mut listeners = group(&lab, version, 2);
            let address = listeners[0].local_addr().unwrap();
            let tenants = Lab::TENANTS.flat_map(|tenant| [tenant; EACH]);
            let clients: Vec<_> = tenants.map(|tenant| lab.connect(address, tenant)).collect();
            let last = listeners.split_off(1);
            let before = tcp_counter(lab.hosts.server(), "TCPMigrateReqSuccess");
            drop(listeners);
            let moved = tcp_counter(lab.hosts.server(), "TCPMigrateReqSuccess") - before;
            assert!((1..clients.len() as u64).contains(&moved), "{moved}");
            for socket in accept_from_any(&last, clients.len()).iter().flatten() {
                assert_both(socket, tenant_of(socket.peer_addr().unwrap()));
            }
        }
    });
}

#[test]
fn a_process_that_inherits_a_connection_reads_its_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let _client = lab.connect(listener.local_addr().unwrap(), 5);
            let socket = accept(&listener);
            in_child(|| assert_both(&socket, 5));
            // Over exec, with no library.
            let python = python("connection = socket.socket(fileno=0)", socket.as_fd());
            assert_printed(python, &socket);
        }
    });
}

#[test]
fn a_process_of_another_cgroup_reads_the_records_of_a_connection_that_it_was_given() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let _client = lab.connect(listener.local_addr().unwrap(), 6);
            let socket = accept(&listener);
            let (ours, theirs) = UnixStream::pair().unwrap();
            let receive = "[fd] = socket.recv_fds(socket.socket(fileno=0), 1, 1)[1]; \
                           connection = socket.socket(fileno=fd)";
            let python = python(receive, theirs.as_fd());
            let outside = sandbox.cgroup().parent().unwrap().join("cgroup.procs");
            fs::write(outside, python.id().to_string()).unwrap();
            give(&ours, &socket);
            assert_printed(python, &socket);
        }
    });
}

#[test]
fn a_connection_that_one_thread_reads_has_its_records_for_another() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let mut client = lab.connect(listener.local_addr().unwrap(), 4);
            let socket = accept(&listener);
            let opening = number(&socket.opening_meta().unwrap());
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        client.write_all(b"?").unwrap();
                    }
                    client.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(|| {
                    (&socket).read_to_end(&mut Vec::new()).unwrap();
                    done.store(true, Ordering::Relaxed);
                });
                let mut latest = opening;
                let mut last_look = false;
                while !last_look {
                    last_look = done.load(Ordering::Relaxed);
                    assert_both(&socket, 4);
                    let next = number(&socket.packet_meta().unwrap());
                    assert!(next >= latest, "{next} after {latest}");
                    latest = next;
                    assert_eq!(number(&socket.opening_meta().unwrap()), opening);
                }
                assert!(latest > opening);
            });
        }
    });
}

/// Listeners that share an address.
fn group(lab: &Lab, version: IpVersion, members: usize) -> Vec<TcpListener> {
    let mut address = lab.server_address(version, 0);
    let mut member = || {
        let socket = lab.hosts.server().run(|| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).unwrap();
            socket
        });
        socket.listen(libc::SOMAXCONN).unwrap();
        let listener: TcpListener = socket.into();
        address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    (0..members).map(|_| member()).collect()
}

/// So many connections, by the listener that accepted them.
fn accept_from_any(listeners: &[TcpListener], count: usize) -> Vec<Vec<TcpStream>> {
    let mut accepted: Vec<Vec<TcpStream>> = listeners.iter().map(|_| Vec::new()).collect();
    wait_until(|| {
        for (listener, accepted) in listeners.iter().zip(&mut accepted) {
            while let Ok((socket, _)) = listener.accept() {
                socket.set_nonblocking(false).unwrap();
                accepted.push(socket);
            }
        }
        accepted.iter().map(Vec::len).sum::<usize>() == count
    });
    accepted
}

/// Starts Python, which makes a `connection` of its standard input and prints its records.
fn python(connection: &str, stdin: BorrowedFd<'_>) -> Child {
    let print = "print(*(connection.getsockopt(0x504d, name, 256).hex() for name in (3, 2)))";
    Command::new("python3")
        .args(["-c", &format!("import socket; {connection}; {print}")])
        .stdin(Stdio::from(stdin.try_clone_to_owned().unwrap()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Python printed the connection's records.
#[track_caller]
fn assert_printed(python: Child, socket: &TcpStream) {
    let output = python.wait_with_output().unwrap();
    let hex = |meta: PacketMeta| -> String {
        let record: &Record = meta.record().unwrap();
        let digits = record.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    };
    let (opening, latest) = (socket.opening_meta(), socket.packet_meta());
    let expected = format!("{} {}\n", hex(opening.unwrap()), hex(latest.unwrap()));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// Gives another process a connection (SCM_RIGHTS).
fn give(to: &UnixStream, socket: &TcpStream) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = rustix::net::sendmsg(to, &[IoSlice::new(b"!")], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(1));
}
