//! What others than the application see of its sockets.

use crate::lab::{Lab, TENANT};
use pktmeta::UdpMeta;
use pktmeta_bpf::{
    Datapath,
    sockets::{Protocol, SocketScope, SocketStatus},
};
use pktmeta_core::Record;
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::io::{Read, Write};

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
            assert!(udp_socket.tickets.is_some());
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

fn list(sandbox: &Sandbox, scope: SocketScope) -> Vec<SocketStatus> {
    Datapath::new(sandbox.bpffs()).sockets(scope).unwrap()
}

fn tenant(sandbox: &Sandbox, record: Option<&Record>) -> Option<u32> {
    let registry = Datapath::new(sandbox.bpffs()).registry().read().unwrap();
    registry.get(record?, TENANT)
}
