//! What is left of connections that were closed.

use super::{
    ending::{Ending, reset},
    *,
};
use crate::{lab::TRACE, options::set_at, storage::Storage};
use pktmeta::SendMeta;
use pktmeta_bpf::Senders;
use pktmeta_core::abi;
use pktmeta_testkit::packet::{Frame, TcpFlags};
use std::os::fd::AsFd;

#[test]
fn closed_connections_leave_nothing_behind() {
    const ROUNDS: usize = 30;
    in_sandbox(|sandbox| {
        let lab = Lab::up_for(sandbox, Senders::All);
        let mut storage = Storage::open(sandbox);
        for version in IpVersion::BOTH {
            send_a_lonely_syn(&lab, version);
            for round in 0..ROUNDS {
                let open = Open::new(&lab, version, round % 2 == 0);
                let kept: Vec<_> = storage.count().into_keys().collect();
                let all = [
                    "connections",
                    "histories",
                    "pktmeta_tx",
                    "selections",
                    "syns",
                ];
                assert_eq!(kept, all);
                open.close();
            }
        }
        // The lonely ones, until others need their room.
        storage.wait_until_left([("syns", IpVersion::BOTH.len())]);
    });
}

/// Has the server keep the record of a SYN whose connection never comes about: the client's kernel,
/// which did not send it, resets it.
fn send_a_lonely_syn(lab: &Lab, version: IpVersion) {
    let listener = lab.listen(version);
    let from = client_address(version, 1, 4000);
    let syn = Frame::new(from, listener.local_addr().unwrap()).tcp_numbers(1, 0);
    let resets = || tcp_counter(lab.hosts.server(), "EmbryonicRsts");
    let before = resets();
    lab.inject(&syn, TcpFlags::SYN, &[]);
    wait_until(|| resets() > before);
}

/// Connections that are open, all with records.
struct Open {
    listener: TcpListener,
    /// The client's and the server's end.
    connections: Vec<(Ending, TcpStream, TcpStream)>,
    /// The client's end of those that nobody accepts.
    waiting: Vec<TcpStream>,
}

impl Open {
    /// Opens connections, from either side. The server's ends keep all that they can: those that it
    /// accepts because the listener asked for it, else half of them by themselves.
    fn new(lab: &Lab, version: IpVersion, by_listener: bool) -> Self {
        let listener = lab.listen(version);
        if by_listener {
            keep_all(&listener);
        }
        let to = listener.local_addr().unwrap();
        let mut connections = Vec::new();
        for (tenant, last) in Lab::TENANTS.zip(Ending::ALL.into_iter().cycle()) {
            let mut add = |ending, client, socket| {
                assert_ours(&client, &socket, tenant);
                connections.push((ending, client, socket));
            };
            for ending in Ending::ALL {
                let client = lab.connect(to, tenant);
                let socket = accept(&listener);
                if !by_listener && tenant % 2 == 0 {
                    keep_all(&socket);
                }
                add(ending, client, socket);
            }
            let peer = listen(lab.hosts.client(), client_address(version, tenant, 0));
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            keep_all(&socket);
            socket.connect(&peer.local_addr().unwrap().into()).unwrap();
            add(last, accept(&peer), socket.into());
        }
        let waiting = Lab::TENANTS.map(|tenant| lab.connect(to, tenant)).collect();
        Self {
            listener,
            connections,
            waiting,
        }
    }

    /// Closes them in every way. Of those that wait, some end before the listener.
    fn close(mut self) {
        for (ending, client, socket) in self.connections {
            ending.of(client, socket);
        }
        self.waiting.drain(..2).for_each(reset);
        self.waiting.drain(..2).for_each(drop);
        drop(self.listener);
    }
}

/// Has a socket keep all that one can ask for.
fn keep_all(socket: &impl AsFd) {
    let any_field = [1];
    socket.as_fd().remember_segments().unwrap();
    socket.as_fd().set_packet_meta(&TRACE.with(7)).unwrap();
    set_at(socket, abi::SOL_PKTMETA, abi::PKTMETA_FIELDS, &any_field).unwrap();
}
