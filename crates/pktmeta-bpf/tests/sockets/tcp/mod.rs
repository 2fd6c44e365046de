//! Connections: the records of their SYN and of the latest segment, and never another's.

mod closed;
mod counted;
mod ending;
mod handshake;
mod history;
mod load;
mod peer;
mod reuse;
mod sharing;
mod unkept;

use crate::lab::{
    LIMIT, Lab, assert_labelled, client_address, connect, listen, set_option, tcp_socket,
    version_of,
};
use pktmeta::{Error, PacketMeta, TcpMeta, builtin};
use pktmeta_testkit::{
    link::IpVersion,
    netns::Netns,
    sandbox::{Sandbox, in_sandbox},
};
use socket2::Socket;
use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

#[test]
fn an_accepted_socket_has_the_records_of_its_syn_and_of_the_latest_segment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            for tenant in Lab::TENANTS {
                let client = lab.connect(listener.local_addr().unwrap(), tenant);
                assert_ours(&client, &accept(&listener), tenant);
            }
        }
    });
}

#[test]
fn a_connecting_socket_has_the_records_of_its_syn_ack_and_of_the_latest_segment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            for tenant in Lab::TENANTS {
                let peer = listen(lab.hosts.client(), client_address(version, tenant, 0));
                let from = lab.server_address(version, 0);
                let socket = connect(lab.hosts.server(), from, peer.local_addr().unwrap());
                assert_ours(&accept(&peer), &socket, tenant);
            }
        }
    });
}

#[test]
fn a_dual_stack_listener_has_the_records_of_both_versions() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = listen(lab.hosts.server(), (Ipv6Addr::UNSPECIFIED, 0).into());
        let port = listener.local_addr().unwrap().port();
        for tenant in Lab::TENANTS {
            for version in IpVersion::BOTH {
                let client = lab.connect(lab.server_address(version, port), tenant);
                let server = accept(&listener);
                assert!(server.peer_addr().unwrap().is_ipv6());
                assert_ours(&client, &server, tenant);
            }
        }
    });
}

#[test]
fn an_ipv6_socket_that_connects_to_an_ipv4_address_has_its_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let peer = listen(lab.hosts.client(), client_address(IpVersion::V4, 4, 0));
        let SocketAddr::V4(address) = peer.local_addr().unwrap() else {
            panic!("not of IPv4");
        };
        let to = (address.ip().to_ipv6_mapped(), address.port()).into();
        let any = (Ipv6Addr::UNSPECIFIED, 0).into();
        let socket = connect(lab.hosts.server(), any, to);
        assert_ours(&accept(&peer), &socket, 4);
    });
}

/// The next connection.
#[track_caller]
fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}

/// Both of the connection's records are of `tenant`, before and after `peer` says something.
#[track_caller]
fn assert_ours(peer: &TcpStream, socket: &TcpStream, tenant: u32) {
    assert_both(socket, tenant);
    let opening = socket.opening_meta().unwrap();
    say(peer, socket);
    let latest = socket.packet_meta().unwrap();
    assert_labelled(&latest, tenant);
    assert!(number(&latest) > number(&opening));
    assert_eq!(number(&socket.opening_meta().unwrap()), number(&opening));
}

/// Both records are of `tenant`.
#[track_caller]
fn assert_both(socket: &TcpStream, tenant: u32) {
    assert_labelled(&socket.opening_meta().unwrap(), tenant);
    assert_labelled(&socket.packet_meta().unwrap(), tenant);
}

/// The connection has no record at all.
#[track_caller]
fn assert_nobodys(socket: &impl TcpMeta) {
    let records = (
        socket.opening_meta().unwrap(),
        socket.packet_meta().unwrap(),
    );
    assert!(
        records.0.is_absent() && records.1.is_absent(),
        "{records:?}"
    );
}

/// Sends a SYN, and does not wait for what comes of it.
fn begin_to_connect(socket: &Socket, to: SocketAddr) {
    socket.set_nonblocking(true).unwrap();
    let error = socket.connect(&to.into()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
    socket.set_nonblocking(false).unwrap();
}

/// A segment with data arrives.
#[track_caller]
fn say(mut from: &TcpStream, mut to: &TcpStream) {
    from.write_all(b"?").unwrap();
    to.read_exact(&mut [0]).unwrap();
}

/// Which packet it was of all that were labelled.
#[track_caller]
fn number(meta: &PacketMeta) -> u64 {
    meta.get(builtin::PACKET_NUMBER).unwrap()
}

/// Makes the client's first sequence number what is wanted (tcp_v4_connect keeps one that is
/// there).
fn begin_with(socket: &Socket, sequence: u32) {
    let set = |name, value| set_option(socket, libc::IPPROTO_TCP, name, value);
    set(libc::TCP_REPAIR, 1);
    set(libc::TCP_REPAIR_QUEUE, 2); // to send
    set(libc::TCP_QUEUE_SEQ, sequence as i32);
    set(libc::TCP_REPAIR, -1); // off, with nothing sent
}

/// Waits for what must come.
#[track_caller]
fn wait_until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sets `net.ipv4.NAME`, which is for TCP over IPv6 too.
fn set_sysctl(netns: &Netns, name: &str, value: &str) {
    netns.run(|| fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap());
}

/// One of TCP's counters, which `nstat` calls `TcpNAME` or `TcpExtNAME`.
#[track_caller]
fn tcp_counter(netns: &Netns, name: &str) -> u64 {
    // Not /proc/self: the namespace is the thread's.
    let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let text = netns.run(|| read("snmp") + &read("netstat"));
    let lines: Vec<&str> = text.lines().collect();
    let counters = lines
        .chunks_exact(2)
        .filter(|pair| pair[0].starts_with("Tcp"));
    let (_, value) = counters
        .flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')))
        .find(|(found, _)| *found == name)
        .unwrap();
    value.parse().unwrap()
}
