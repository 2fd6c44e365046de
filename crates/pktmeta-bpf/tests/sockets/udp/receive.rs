//! One socket, every way to receive.

use super::{
    message::Message,
    sending::{assert_not_enabled, assert_same, send},
};
use crate::lab::{Lab, assert_labelled};
use pktmeta::{Batch, Received, UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
};

#[test]
fn a_datagram_has_the_record_of_its_sender() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in Lab::TENANTS {
                let client = lab.udp_client(version, tenant);
                client
                    .send_to(b"hello", server.local_addr().unwrap())
                    .unwrap();
                let Received { from, meta, .. } = server.recv_from_meta(&mut [0; 16]).unwrap();
                assert_eq!(from, client.local_addr().unwrap());
                assert_labelled(&meta.unwrap(), tenant);
            }
        }
    });
}

#[test]
fn every_datagram_of_a_batch_has_its_own_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            let tenants: Vec<u32> = Lab::TENANTS.chain(Lab::TENANTS.rev()).collect();
            for &tenant in &tenants {
                send(&lab, &server, tenant, &[tenant as u8]);
            }
            let mut batch = Batch::new(tenants.len() + 1, 16);
            assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), tenants.len());
            let mut last = None;
            for (datagram, &tenant) in batch.iter().zip(&tenants) {
                assert_eq!(datagram.data, [tenant as u8]);
                let meta = datagram.meta.unwrap();
                assert_labelled(meta, tenant);
                let number = meta.get(builtin::PACKET_NUMBER);
                assert!(number > last, "{number:?} after {last:?}");
                last = number;
            }
        }
    });
}

#[test]
fn a_connected_socket_has_the_records_of_its_peer() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            let (peer, other) = (lab.udp_client(version, 3), lab.udp_client(version, 4));
            server.connect(peer.local_addr().unwrap()).unwrap();
            server.enable_packet_meta().unwrap();
            for client in [&other, &peer] {
                client
                    .send_to(b"hello", server.local_addr().unwrap())
                    .unwrap();
            }
            let Received { from, meta, .. } = server.recv_from_meta(&mut [0; 16]).unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
            assert_labelled(&meta.unwrap(), 3);
            peer.send_to(b"hello", server.local_addr().unwrap())
                .unwrap();
            let mut batch = Batch::new(4, 16);
            assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), 1);
            assert_labelled(batch.iter().next().unwrap().meta.unwrap(), 3);
        }
    });
}

#[test]
fn a_client_has_the_records_of_answers() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let resolver = lab.udp_client(version, 5);
            let asker = lab.udp_server(version);
            asker.enable_packet_meta().unwrap();
            asker.connect(resolver.local_addr().unwrap()).unwrap();
            asker.send(b"question").unwrap();
            let (_, from) = resolver.recv_from(&mut [0; 16]).unwrap();
            resolver.send_to(b"answer", from).unwrap();
            let meta = asker.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 5);
        }
    });
}

#[test]
fn a_socket_of_both_versions_has_the_records_of_both() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let server = lab.udp_server_at(any, |socket| socket.set_only_v6(false));
        server.enable_packet_meta().unwrap();
        let port = server.local_addr().unwrap().port();
        for (version, tenant) in [(IpVersion::V4, 1), (IpVersion::V6, 2), (IpVersion::V4, 3)] {
            let client = lab.udp_client(version, tenant);
            client
                .send_to(b"hello", lab.server_address(version, port))
                .unwrap();
            let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), tenant);
        }
    });
}

#[test]
fn a_peeked_datagram_has_the_record_that_it_has_when_it_is_read() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in [6, 7] {
                send(&lab, &server, tenant, b"hello");
            }
            for tenant in [6, 7] {
                let receive = |flags| {
                    let message = Message::receive(&server, 16, flags);
                    (server.control_meta(&message.control).unwrap(), message)
                };
                let (first, peeked) = receive(libc::MSG_PEEK);
                let (again, _) = receive(libc::MSG_PEEK);
                let (read, message) = receive(0);
                assert_eq!(peeked.payload, message.payload);
                assert_eq!(peeked.control, message.control);
                assert_labelled(&read, tenant);
                assert_same(&first, &read);
                assert_same(&again, &read);
            }
        }
    });
}

#[test]
fn a_truncated_datagram_keeps_its_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in [1, 2, 3, 4] {
                send(&lab, &server, tenant, b"longer than there is room");
            }
            let mut buffer = [0; 6];
            let Received {
                len: length, meta, ..
            } = server.recv_from_meta(&mut buffer).unwrap();
            assert_eq!((length, &buffer), (6, b"longer"));
            assert_labelled(&meta.unwrap(), 1);

            for (tenant, room) in [(2, 6), (3, 0)] {
                let message = Message::receive(&server, room, libc::MSG_TRUNC);
                assert!(message.truncated);
                assert_labelled(&server.control_meta(&message.control).unwrap(), tenant);
            }

            let mut batch = Batch::new(1, 6);
            assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), 1);
            let datagram = batch.iter().next().unwrap();
            assert!(datagram.truncated);
            assert_labelled(datagram.meta.unwrap(), 4);
        }
    });
}

#[test]
fn a_datagram_without_payload_has_a_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 8, b"");
            let Received {
                len: length, meta, ..
            } = server.recv_from_meta(&mut [0; 16]).unwrap();
            assert_eq!(length, 0);
            assert_labelled(&meta.unwrap(), 8);
        }
    });
}

#[test]
fn a_datagram_that_nobody_labelled_has_no_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            // Over loopback.
            let neighbour = lab.udp_server(version);
            neighbour
                .send_to(b"hello", server.local_addr().unwrap())
                .unwrap();
            let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert!(meta.unwrap().is_absent());
        }
    });
}

#[test]
fn datagrams_that_were_queued_before_tickets_were_asked_for_say_so() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            send(&lab, &server, 1, b"early");
            send(&lab, &server, 2, b"early");
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 3, b"later");
            let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_not_enabled(meta);
            let mut batch = Batch::new(4, 16);
            assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), 2);
            let mut datagrams = batch.iter();
            assert_not_enabled(datagrams.next().unwrap().meta.copied());
            assert_labelled(datagrams.next().unwrap().meta.unwrap(), 3);
        }
    });
}

#[test]
fn an_unspecified_socket_that_is_enabled_before_it_is_bound_misses_nothing() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for (version, any) in [
            (IpVersion::V4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            (IpVersion::V6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        ] {
            let server = lab.udp_server_at(any, |socket| {
                socket.as_fd().enable_packet_meta().unwrap();
                Ok(())
            });
            let port = server.local_addr().unwrap().port();
            let client = lab.udp_client(version, 4);
            client
                .send_to(b"first", lab.server_address(version, port))
                .unwrap();
            let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 4);
        }
    });
}
