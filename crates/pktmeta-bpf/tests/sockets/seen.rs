//! What others than the application see of its sockets.

use crate::lab::{LIMIT, Lab, TENANT};
use pktmeta::UdpMeta;
use pktmeta_bpf::{
    Datapath,
    sockets::{Protocol, SocketScope, SocketStatus},
    watch::{Event, EventKind, Watch},
};
use pktmeta_core::{Record, Registry};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    time::Instant,
};

#[test]
fn sockets_are_listed_with_what_the_datapath_keeps_for_them() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let mut client = lab.connect(listener.local_addr().unwrap(), 3);
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"?").unwrap();
            server.read_exact(&mut [0]).unwrap();
            let udp = lab.udp_server(version);
            udp.enable_packet_meta().unwrap();

            let sockets = list(sandbox, SocketScope::Stored);
            assert_eq!(sockets.len(), 2, "{sockets:#?}");
            let [connection, udp_socket] = &sockets[..] else {
                unreachable!("there are two");
            };
            assert_eq!(connection.protocol, Protocol::Tcp);
            assert_eq!(connection.local, server.local_addr().unwrap());
            assert_eq!(connection.peer, client.local_addr().unwrap());
            assert_eq!(connection.state, "established");
            assert_eq!(tenant(sandbox, connection.opening.as_ref()), Some(3));
            assert_eq!(tenant(sandbox, connection.latest.as_ref()), Some(3));
            assert_eq!(connection.cgroup.as_deref(), Some(sandbox.cgroup()));
            assert_eq!(connection.processes[0].pid, std::process::id());
            assert_eq!(udp_socket.protocol, Protocol::Udp);
            assert_eq!(udp_socket.local, udp.local_addr().unwrap());
            assert_eq!(udp_socket.peer.port(), 0);
            assert_eq!(udp_socket.state, "unconnected");
            assert!(udp_socket.carrier.is_some());
            assert_eq!(udp_socket.latest, None);

            let all = list(sandbox, SocketScope::All);
            // Other tests have sockets too.
            let here = lab.hosts.server().id();
            let listens = |socket: &&SocketStatus| socket.state == "listen" && socket.netns == here;
            let [listening] = all.iter().filter(listens).collect::<Vec<_>>()[..] else {
                panic!("one listens: {all:#?}");
            };
            assert_eq!(listening.local, listener.local_addr().unwrap());
            assert_eq!(listening.opening, None);
        }
    });
}

#[test]
fn a_watch_tells_of_each_connection_and_datagram_in_order_with_its_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let cgroup = File::open(sandbox.cgroup()).unwrap();
        for version in IpVersion::BOTH {
            let watch = Watch::new(&cgroup, &registry(sandbox), true).unwrap();
            let (listener, udp) = (lab.listen(version), lab.udp_server(version));
            let server = listener.local_addr().unwrap();
            let mut wanted = Vec::new();
            for tenant in Lab::TENANTS {
                let datagrams = lab.udp_client(version, tenant);
                datagrams.send_to(b"?", udp.local_addr().unwrap()).unwrap();
                let ends = [udp.local_addr(), datagrams.local_addr()].map(Result::unwrap);
                wanted.push((EventKind::Datagram, ends, Some(tenant)));
                let client = lab.connect(server, tenant);
                // The client is in the cgroup too; nobody labels what it receives.
                let client = client.local_addr().unwrap();
                wanted.push((EventKind::Connected, [client, server], None));
                wanted.push((EventKind::Accepted, [server, client], Some(tenant)));
                listener.accept().unwrap();
            }
            let events = read(&watch, wanted.len());
            let seen = events.iter().map(|event| {
                let tenant = tenant(sandbox, event.record.as_ref());
                (event.kind, [event.local, event.peer], tenant)
            });
            assert_eq!(seen.collect::<Vec<_>>(), wanted);
            assert!(events.is_sorted_by_key(|event| event.time));
            let (last, lost) = watch.end().unwrap();
            assert_eq!((last, lost), (vec![], 0));
        }
    });
}

#[test]
fn a_watch_that_ends_leaves_nothing_attached() {
    in_sandbox(|sandbox| {
        let cgroup = File::open(sandbox.cgroup()).unwrap();
        let watch = Watch::new(&cgroup, &registry(sandbox), true).unwrap();
        let attached = || {
            let kinds = [
                libbpf_sys::BPF_CGROUP_INET_INGRESS,
                libbpf_sys::BPF_CGROUP_SOCK_OPS,
            ];
            kinds.map(|kind| programs(&cgroup, kind))
        };
        assert_eq!(attached(), [1, 1]);
        watch.end().unwrap();
        assert_eq!(attached(), [0, 0]);
    });
}

/// How many programs of a type are attached to a cgroup.
fn programs(cgroup: &File, attach_type: libbpf_sys::bpf_attach_type) -> u32 {
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as _,
        ..Default::default()
    };
    let cgroup = cgroup.as_raw_fd();
    // SAFETY: options is of the size it says and outlives the call; it has room for no program.
    let queried = unsafe { libbpf_sys::bpf_prog_query_opts(cgroup, attach_type, &mut options) };
    assert_eq!(queried, 0);
    // SAFETY: both names of the union are the same u32.
    unsafe { options.__bindgen_anon_1.count }
}

fn list(sandbox: &Sandbox, scope: SocketScope) -> Vec<SocketStatus> {
    Datapath::new(sandbox.bpffs()).sockets(scope).unwrap()
}

fn tenant(sandbox: &Sandbox, record: Option<&Record>) -> Option<u32> {
    registry(sandbox).get(record?, TENANT)
}

fn registry(sandbox: &Sandbox) -> Registry {
    Datapath::new(sandbox.bpffs()).registry().read().unwrap()
}

/// Waits for this many events.
#[track_caller]
fn read(watch: &Watch, count: usize) -> Vec<Event> {
    let deadline = Instant::now() + LIMIT;
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(watch.events().unwrap());
        assert!(Instant::now() < deadline, "only {events:#?}");
    }
    events
}
