//! Ways to open a connection.

use super::*;
use crate::lab::tenant_of;
use crate::options;
use peer::Peer;
use pktmeta_bpf::{Datapath, sockets::SocketScope};
use pktmeta_testkit::packet::{Frame, TcpFlags};
use socket2::{Domain, Protocol, Type};
use std::{os::fd::AsFd, thread};

#[test]
fn two_sockets_that_connect_to_each_other_have_the_record_of_the_others_syn() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let address = lab.server_address(version, 4000);
            let peer_address = client_address(version, 5, 4001);
            let socket = tcp_socket(lab.hosts.server(), address);
            let peer = tcp_socket(lab.hosts.client(), peer_address);
            // The first SYN gets lost, so that they cross.
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            lab.find(peer_address.ip());
            peer.connect_timeout(&address.into(), LIMIT).unwrap();
            let (peer, socket) = (peer.into(), socket.into());
            say(&peer, &socket);
            assert_ours(&peer, &socket, 5);
        }
    });
}

#[test]
fn a_socket_has_no_record_until_it_is_connected() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            let peer = listen(lab.hosts.client(), client_address(version, 2, 0));
            let peer_address = peer.local_addr().unwrap();
            assert_nobodys(&socket.as_fd());
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            let resets = tcp_counter(lab.hosts.server(), "OutRsts");
            let of_another_connection = Frame::new(peer_address, address);
            lab.inject(&of_another_connection, TcpFlags::SYN_ACK, &[]);
            wait_until(|| tcp_counter(lab.hosts.server(), "OutRsts") > resets);
            assert_nobodys(&socket.as_fd());
            lab.find(peer_address.ip());
            // Once the SYN was sent again.
            (&socket).write_all(b"!").unwrap();
            assert_ours(&accept(&peer), &socket.into(), 2);
        }
    });
}

#[test]
fn connections_that_syn_cookies_opened_have_the_records_of_their_syns() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let server = lab.hosts.server();
        set_sysctl(server, "tcp_syncookies", "2"); // always
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let address = listener.local_addr().unwrap();
            let before = tcp_counter(server, "SyncookiesRecv");
            let clients = Lab::TENANTS.map(|tenant| (tenant, lab.connect(address, tenant)));
            for (tenant, client) in clients.collect::<Vec<_>>() {
                let socket = accept(&listener);
                assert_eq!(socket.peer_addr().unwrap(), client.local_addr().unwrap());
                assert_ours(&client, &socket, tenant);
            }
            let cookies = tcp_counter(server, "SyncookiesRecv") - before;
            assert_eq!(cookies, Lab::TENANTS.count() as u64);
        }
    });
}

#[test]
fn a_connection_that_begins_with_data_has_the_record_of_its_syn() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (client, server) = (lab.hosts.client(), lab.hosts.server());
        for netns in [client, server] {
            set_sysctl(netns, "tcp_fastopen", "3"); // to connect, and to listen
        }
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let address = listener.local_addr().unwrap();
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 8);
            for tenant in Lab::TENANTS {
                // The first connection gets the cookie with which the others send data at once.
                for opened_with_data in [0, 1, 1] {
                    let before = tcp_counter(server, "TCPFastOpenPassive");
                    let socket = tcp_socket(client, client_address(version, tenant, 0));
                    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1);
                    socket.connect(&address.into()).unwrap();
                    (&socket).write_all(b"!").unwrap();
                    let mut accepted = accept(&listener);
                    let opening = accepted.opening_meta().unwrap();
                    assert_labelled(&opening, tenant);
                    accepted.read_exact(&mut [0]).unwrap();
                    assert_ours(&socket.into(), &accepted, tenant);
                    let passive = tcp_counter(server, "TCPFastOpenPassive") - before;
                    assert_eq!(passive, opened_with_data);
                }
            }
        }
    });
}

#[test]
fn a_connection_that_is_established_by_its_first_data_has_the_record_of_its_syn() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5);
            for tenant in Lab::TENANTS {
                let mut client = lab.connect(listener.local_addr().unwrap(), tenant);
                client.write_all(b"!").unwrap();
                let mut socket = accept(&listener);
                assert_eq!(segments_between(&socket), 2, "the ACK and the data");
                socket.read_exact(&mut [0]).unwrap();
                assert_ours(&client, &socket, tenant);
            }
        }
    });
}

#[test]
fn a_syn_that_does_not_open_the_connection_leaves_it_its_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        // Kernels newer than 6.12 want the SYN-ACK's time echoed. The other SYN is answered by an
        // ACK, and where that is a millisecond later, they drop the data, which echoes the ACK's.
        set_sysctl(lab.hosts.server(), "tcp_timestamps", "0");
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            // The handshake ends when data comes.
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5);
            let address = listener.local_addr().unwrap();
            for tenant in Lab::TENANTS {
                let mut client = lab.connect(address, tenant);
                let spoofed = Frame::new(client.local_addr().unwrap(), address);
                lab.inject(&spoofed, TcpFlags::SYN, &[]);
                client.write_all(b"!").unwrap();
                let socket = accept(&listener);
                assert_labelled(&socket.opening_meta().unwrap(), tenant);
                let behind = segments_between(&socket);
                assert!(
                    behind >= 3,
                    "{behind}: the ACK, the other SYN, and the data"
                );
            }
        }
    });
}

#[test]
fn connections_that_waited_for_room_in_the_backlog_have_their_own_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let server = lab.hosts.server();
        for version in IpVersion::BOTH {
            let listener = tcp_socket(server, lab.server_address(version, 0));
            listener.listen(1).unwrap();
            let listener: TcpListener = listener.into();
            let address = listener.local_addr().unwrap();
            let before = tcp_counter(server, "ListenOverflows");
            thread::scope(|scope| {
                let lab = &lab;
                let clients = Lab::TENANTS.map(|tenant| {
                    scope.spawn(move || {
                        let mut client = lab.connect(address, tenant);
                        client.write_all(&[tenant as u8]).unwrap();
                        client
                    })
                });
                // Open until the end: a FIN behind lost data can pass for an ACK of a SYN cookie.
                let clients: Vec<_> = clients.collect();
                wait_until(|| tcp_counter(server, "ListenOverflows") >= before + 8);
                for _ in &clients {
                    let mut socket = accept(&listener);
                    let tenant = tenant_of(socket.peer_addr().unwrap());
                    assert_labelled(&socket.opening_meta().unwrap(), tenant);
                    let mut said = [0];
                    socket.read_exact(&mut said).unwrap();
                    assert_eq!(said, [tenant as u8]);
                    assert_labelled(&socket.packet_meta().unwrap(), tenant);
                }
            });
        }
    });
}

#[test]
fn a_syn_with_ip_options_or_extension_headers_has_its_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for (version, level, option, value) in [
            (IpVersion::V4, libc::IPPROTO_IP, libc::IP_OPTIONS, NOPS),
            (
                IpVersion::V6,
                libc::IPPROTO_IPV6,
                libc::IPV6_DSTOPTS,
                PADDING,
            ),
            (
                IpVersion::V6,
                libc::IPPROTO_IPV6,
                libc::IPV6_HOPOPTS,
                PADDING,
            ),
        ] {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            let client = tcp_socket(lab.hosts.client(), client_address(version, 6, 0));
            options::set_at(&client, level, option, value).unwrap();
            let address = listener.local_addr().unwrap();
            client.connect(&address.into()).unwrap();
            let (client, socket) = (client.into(), accept(&listener));
            assert_ours(&client, &socket, 6);
            assert_labelled(&socket.meta_at(0).unwrap(), 6);
        }
    });
}

/// Options of an IPv4 header that do nothing.
const NOPS: &[u8] = &[1, 1, 1, 0];

/// An extension header that does nothing: the next one's type, which the kernel fills in, its
/// length beyond 8 bytes, and PadN.
const PADDING: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];

#[test]
fn a_listener_for_multipath_tcp_has_the_records_of_clients_that_speak_tcp() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = |netns: &Netns, address: SocketAddr| {
                let domain = Domain::for_address(address);
                let multipath = Some(Protocol::MPTCP);
                let socket = netns.run(|| Socket::new(domain, Type::STREAM, multipath));
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                socket.bind(&address.into()).unwrap();
                socket
            };
            let listener = socket(lab.hosts.server(), lab.server_address(version, 0));
            listener.listen(libc::SOMAXCONN).unwrap();
            let listener: TcpListener = listener.into();
            let address = listener.local_addr().unwrap();
            for tenant in Lab::TENANTS {
                let client = lab.connect(address, tenant);
                assert_ours(&client, &accept(&listener), tenant);
                let client = socket(lab.hosts.client(), client_address(version, tenant, 0));
                client.connect(&address.into()).unwrap();
                let (client, socket) = (client.into(), accept(&listener));
                say(&client, &socket);
                let error = socket.opening_meta().unwrap_err();
                assert!(matches!(error, Error::Unavailable(_)), "{error}");
            }
        }
    });
}

/// How many labelled packets came after the SYN until the latest segment. Nothing else may send.
fn segments_between(socket: &TcpStream) -> u64 {
    number(&socket.packet_meta().unwrap()) - number(&socket.opening_meta().unwrap())
}

#[test]
fn a_connection_is_listed_with_the_record_that_its_syn_lacks_and_a_segment_has() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let datapath = Datapath::new(sandbox.bpffs());
        for version in IpVersion::BOTH {
            let peer = Peer::connect_unlabelled(&lab, &lab.listen(version), 2);
            peer.send_first(4);
            let sockets = datapath.sockets(SocketScope::Stored).unwrap();
            let records = sockets.iter().map(|it| (&it.opening, &it.latest));
            let [(None, Some(_))] = records.collect::<Vec<_>>()[..] else {
                panic!("one connection, with one record: {sockets:#?}");
            };
        }
    });
}
