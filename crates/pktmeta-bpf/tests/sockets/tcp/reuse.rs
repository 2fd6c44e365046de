//! Sockets, ports and addresses that were a connection's before.

use super::{
    ending::{Ending, reset},
    peer::Peer,
    *,
};
use crate::lab::{TENANT, get_option, set_option};
use pktmeta_bpf::{Datapath, sockets::SocketScope};
use pktmeta_core::abi;
use pktmeta_testkit::packet::{Frame, TcpFlags};
use std::{
    net::Shutdown,
    os::fd::{AsFd, AsRawFd},
};

#[test]
fn a_socket_that_connects_again_has_nothing_of_its_first_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = connected_and_disconnected(&lab, version);
            let peer = listen(lab.hosts.client(), client_address(version, 2, 0));
            let peer_address = peer.local_addr().unwrap();
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            assert_nobodys(&socket.as_fd());
            lab.find(peer_address.ip());
            disconnect(&socket);

            let unlabelled = lab.listen(version);
            let address = unlabelled.local_addr().unwrap();
            socket.connect(&address.into()).unwrap();
            let socket = socket.into();
            say(&accept(&unlabelled), &socket);
            assert_nobodys(&socket);
        }
    });
}

#[test]
fn a_socket_that_listens_has_nothing_of_its_earlier_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = connected_and_disconnected(&lab, version);
            socket.listen(1).unwrap();
            assert_nobodys(&socket.as_fd());
            let listener: TcpListener = socket.into();
            let client = lab.connect(listener.local_addr().unwrap(), 2);
            assert_ours(&client, &accept(&listener), 2);
            assert_nobodys(&listener);
        }
    });
}

#[test]
fn a_socket_that_ended_its_connection_itself_has_nothing_of_it_from_then_on() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listed = || {
            Datapath::new(sandbox.bpffs())
                .sockets(SocketScope::Stored)
                .unwrap()
                .len()
        };
        for version in IpVersion::BOTH {
            let peer = listen(lab.hosts.client(), client_address(version, 1, 0));
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            set_option(&socket, abi::SOL_PKTMETA, abi::PKTMETA_RX_HISTORY, 1);
            socket.connect(&peer.local_addr().unwrap().into()).unwrap();
            let stream: TcpStream = socket.try_clone().unwrap().into();
            say(&accept(&peer), &stream);
            assert_both(&stream, 1);
            assert!(get_option(&socket, abi::SOL_PKTMETA_BYTE, 0).is_ok());
            assert_eq!(listed(), 1);
            disconnect(&socket);
            assert_nobodys(&stream);
            let byte = get_option(&socket, abi::SOL_PKTMETA_BYTE, 0).unwrap_err();
            assert_eq!(byte.raw_os_error(), Some(libc::ESTALE));
            assert_eq!(listed(), 0);
        }
    });
}

#[test]
fn a_syn_whose_connection_never_came_about_leaves_its_record_to_nobody() {
    const SEQUENCE: u32 = 0x4d50_4d50;
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let from = client_address(version, 1, 4000);
            let to = listener.local_addr().unwrap();
            let syn = Frame::new(from, to).tcp_numbers(SEQUENCE, 0);
            let resets = tcp_counter(lab.hosts.server(), "EmbryonicRsts");
            lab.inject(&syn, TcpFlags::SYN, &[]);
            // The client's kernel resets what it knows nothing of.
            wait_until(|| tcp_counter(lab.hosts.server(), "EmbryonicRsts") > resets);

            lab.move_to_server(from.ip());
            for sequence in [None, Some(SEQUENCE)] {
                let client = tcp_socket(lab.hosts.server(), from);
                if let Some(sequence) = sequence {
                    begin_with(&client, sequence);
                }
                client.connect(&to.into()).unwrap();
                let (client, socket) = (client.into(), accept(&listener));
                say(&client, &socket);
                assert_nobodys(&socket);
                reset(client);
            }
        }
    });
}

#[test]
fn the_same_addresses_and_ports_again_have_the_records_of_the_new_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        // Of a connection that the client closed, after a second.
        set_sysctl(lab.hosts.client(), "tcp_tw_reuse", "1");
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let from = client_address(version, 7, 4000);
            let to = listener.local_addr().unwrap();
            let mut latest = 0;
            for end in Ending::ALL.repeat(2) {
                let client = connect_soon(lab.hosts.client(), from, to);
                let socket = accept(&listener);
                assert!(number(&socket.opening_meta().unwrap()) > latest);
                assert_ours(&client, &socket, 7);
                latest = number(&socket.packet_meta().unwrap());
                end.of(client, socket);
            }
        }
    });
}

#[test]
fn the_same_addresses_and_ports_over_another_way_have_nothing_of_the_old_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let to = listener.local_addr().unwrap();
            for (tenant, end) in Lab::TENANTS.zip(Ending::ALL) {
                let from = client_address(version, tenant, 4000);
                let client = connect(lab.hosts.client(), from, to);
                let socket = accept(&listener);
                assert_ours(&client, &socket, tenant);
                end.of(client, socket);

                lab.move_to_server(from.ip());
                let client = connect(lab.hosts.server(), from, to);
                let socket = accept(&listener);
                say(&client, &socket);
                assert_nobodys(&socket);
            }
        }
    });
}

#[test]
fn a_listener_on_a_port_that_another_had_has_only_its_own_connections_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let address = lab.server_address(version, 4000);
            for tenant in Lab::TENANTS {
                let listener = listen(lab.hosts.server(), address);
                let first = lab.connect(address, tenant);
                assert_ours(&first, &accept(&listener), tenant);
                let from = client_address(version, tenant, 4001);
                let waiting = connect(lab.hosts.client(), from, address);
                drop(listener); // and with it the connection that waits
                let listener = listen(lab.hosts.server(), address);
                let again = connect_soon(
                    lab.hosts.client(),
                    {
                        drop(waiting);
                        from
                    },
                    address,
                );
                assert_ours(&again, &accept(&listener), tenant);
            }
        }
    });
}

#[test]
fn a_client_without_a_label_has_a_record_without_one() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let to = listener.local_addr().unwrap();
            for tenant in Lab::TENANTS {
                let client = lab.connect(to, tenant);
                assert_ours(&client, &accept(&listener), tenant);
                let from = (lab.hosts.client_ip(version), 0).into();
                let client = connect(lab.hosts.client(), from, to);
                let socket = accept(&listener);
                say(&client, &socket);
                for meta in [socket.opening_meta(), socket.packet_meta()] {
                    let meta = meta.unwrap();
                    assert!(!meta.is_absent() && meta.get(TENANT).is_none(), "{meta:?}");
                }
            }
        }
    });
}

#[test]
fn a_connection_keeps_its_records_when_both_ends_close_at_once_and_when_it_is_reset() {
    const CLOSING: u8 = 11;
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let client = lab.connect(listener.local_addr().unwrap(), 8);
            let socket = accept(&listener);
            let address = client.local_addr().unwrap().ip();
            lab.lose_what_is_sent_to(address); // so that the FINs cross
            socket.shutdown(Shutdown::Write).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            wait_until(|| tcp_state(&socket) == CLOSING);
            assert_both(&socket, 8);
            lab.find(address);
            wait_until(|| tcp_state(&socket) != CLOSING);
            assert_both(&socket, 8);

            let client = lab.connect(listener.local_addr().unwrap(), 7);
            let mut socket = accept(&listener);
            reset(client);
            let error = socket.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_both(&socket, 7);
        }
    });
}

#[test]
fn a_segment_outside_the_window_leaves_the_latest_record_as_it_was() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let peer = Peer::connect(&lab, &listener, 3, 1);
            let latest = peer.send(0, 1000);
            for position in [1 << 20, 1 << 30, (1 << 32) - 1000] {
                peer.send_outside(position, 10);
                assert_eq!(number(&peer.socket().packet_meta().unwrap()), latest);
            }
            assert!(peer.send(1000, 10) > latest);
        }
    });
}

#[test]
fn a_segment_at_either_end_of_the_window_is_the_latest_and_one_a_byte_beyond_is_not() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let peer = Peer::connect(&lab, &listener, 3, 1);
            // What begins the stream, without a byte of it. Nothing is received: the window stays.
            let latest = peer.send(0, 0);
            peer.send_outside(receive_window(peer.socket()) + 1, 10);
            assert_eq!(number(&peer.socket().packet_meta().unwrap()), latest);
            peer.send_outside((1 << 32) - 2, 1);
            assert_eq!(number(&peer.socket().packet_meta().unwrap()), latest);
            assert!(peer.send(receive_window(peer.socket()), 0) > latest);
        }
    });
}

/// Which of the kernel's TCP_* states a connection is in.
fn tcp_state(socket: &TcpStream) -> u8 {
    tcp_info(socket)[0]
}

/// How many bytes the kernel said that it takes: `tcpi_rcv_wnd`.
fn receive_window(socket: &TcpStream) -> usize {
    const AT: usize = 232;
    let bytes = tcp_info(socket)[AT..AT + 4].try_into().unwrap();
    u32::from_ne_bytes(bytes) as usize
}

/// The kernel's `struct tcp_info`, of which libc knows the first half.
fn tcp_info(socket: &TcpStream) -> [u8; 240] {
    let mut info = [0; 240];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: The kernel writes at most `length` bytes, which `info` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    assert_eq!(length as usize, info.len());
    info
}

/// Opens a connection when nothing of an earlier one is in the way any more.
fn connect_soon(netns: &Netns, from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = tcp_socket(netns, from);
    wait_until(|| match socket.connect(&to.into()) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => false,
        result => result.map(|()| true).unwrap(),
    });
    socket.into()
}

/// A socket of the server that was connected to tenant 1.
fn connected_and_disconnected(lab: &Lab, version: IpVersion) -> Socket {
    let peer = listen(lab.hosts.client(), client_address(version, 1, 0));
    let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
    socket.connect(&peer.local_addr().unwrap().into()).unwrap();
    assert_labelled(&socket.as_fd().opening_meta().unwrap(), 1);
    disconnect(&socket);
    socket
}

/// Ends a connection, after which the socket can begin another (connect(2)).
pub(super) fn disconnect(socket: &Socket) {
    // SAFETY: Zeros are a socket address; its family is AF_UNSPEC.
    let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel reads the size that is said of `nowhere`.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const nowhere,
            size_of_val(&nowhere) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
