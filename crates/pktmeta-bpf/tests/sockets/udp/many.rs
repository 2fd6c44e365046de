//! Several sockets, and several owners of one.

use super::{
    group::Group,
    message::Message,
    sending::{assert_not_enabled, assert_same, send},
};
use crate::lab::{Lab, assert_labelled, in_child};
use pktmeta::{Carrier, Error, Received, UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{collections::BTreeSet, net::UdpSocket, os::fd::AsRawFd, thread};

#[test]
fn sockets_that_share_a_port_have_the_records_of_what_each_of_them_gets() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let mut address = lab.server_address(version, 0);
            let servers: Vec<UdpSocket> = (0..4)
                .map(|_| {
                    let server = lab.udp_server_at(address, |socket| socket.set_reuse_port(true));
                    address = server.local_addr().unwrap();
                    server.enable_packet_meta().unwrap();
                    server.set_nonblocking(true).unwrap();
                    server
                })
                .collect();
            for tenant in Lab::TENANTS.chain(Lab::TENANTS) {
                send(&lab, &servers[0], tenant, &[tenant as u8]);
            }
            let mut received = Vec::new();
            let mut used = 0;
            for server in &servers {
                let before = received.len();
                let mut buffer = [0];
                while let Ok(Received { meta, .. }) = server.recv_from_meta(&mut buffer) {
                    assert_labelled(&meta.unwrap(), buffer[0].into());
                    received.push(u32::from(buffer[0]));
                }
                used += u32::from(received.len() > before);
            }
            received.sort();
            let sent: Vec<u32> = Lab::TENANTS.flat_map(|tenant| [tenant, tenant]).collect();
            assert_eq!(received, sent);
            assert!(used > 1, "all went to one socket");
        }
    });
}

#[test]
fn every_socket_of_a_multicast_group_has_a_ticket_of_its_own_and_the_record() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let first = &Group::of(version).join(&lab);
            let group = Group::at(first.local_addr().unwrap());
            let [second, other, plain] = &[(); 3].map(|()| group.join(&lab));
            // One has its tickets elsewhere, one does not want any.
            other.enable_packet_meta_in(Carrier::Priority).unwrap();
            for server in [first, second] {
                server.enable_packet_meta().unwrap();
            }
            for tenant in Lab::TENANTS {
                let client = group.sender(&lab, tenant);
                client.send_to(b"hello", group.address()).unwrap();
                let [one, two] = [first, second].map(|server| Message::receive(server, 16, 0));
                let ticket = |message: &Message| message.number(libc::SOL_SOCKET, libc::SO_MARK);
                assert!(ticket(&one).is_some() && ticket(&two).is_some());
                assert_ne!(ticket(&one), ticket(&two));
                // Nobody's ticket is good for another's socket.
                let foreign = first.control_meta(&two.control).unwrap_err();
                assert!(matches!(foreign, Error::Overrun), "{foreign:?}");
                let one = first.control_meta(&one.control).unwrap();
                let two = second.control_meta(&two.control).unwrap();
                let three = other.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_labelled(&one, tenant);
                assert_same(&one, &two);
                assert_same(&one, &three.unwrap());
                let none = plain.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_not_enabled(none);
            }
        }
    });
}

#[test]
fn a_duplicate_of_a_socket_is_the_same_socket() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            let before = server.try_clone().unwrap();
            server.enable_packet_meta().unwrap();
            let after = server.try_clone().unwrap();
            for tenant in 1..=3 {
                send(&lab, &server, tenant, b"hello");
            }
            for (tenant, socket) in (1..).zip([&before, &after, &server]) {
                let meta = socket.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_labelled(&meta.unwrap(), tenant);
            }
            drop(server);
            send(&lab, &after, 4, b"hello");
            let meta = before.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 4);
        }
    });
}

#[test]
fn a_descriptor_that_is_used_again_is_another_socket() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let first = lab.udp_server(version);
            first.enable_packet_meta().unwrap();
            send(&lab, &first, 1, b"hello");
            let message = Message::receive(&first, 16, 0);
            assert_labelled(&first.control_meta(&message.control).unwrap(), 1);
            let descriptor = first.as_raw_fd();
            drop(first);

            let plain = lab.udp_server(version);
            assert_eq!(plain.as_raw_fd(), descriptor);
            send(&lab, &plain, 2, b"hello");
            let meta = plain.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_not_enabled(meta);
            drop(plain);

            let elsewhere = lab.udp_server(version);
            assert_eq!(elsewhere.as_raw_fd(), descriptor);
            let priority = Carrier::Priority;
            elsewhere.enable_packet_meta_in(priority).unwrap();
            send(&lab, &elsewhere, 3, b"hello");
            let meta = elsewhere.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 3);
            drop(elsewhere);

            let last = lab.udp_server(version);
            assert_eq!(last.as_raw_fd(), descriptor);
            last.enable_packet_meta().unwrap();
            let foreign = last.control_meta(&message.control).unwrap_err();
            assert!(matches!(foreign, Error::Overrun), "{foreign:?}");
            send(&lab, &last, 4, b"hello");
            let meta = last.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 4);
        }
    });
}

#[test]
fn processes_that_share_a_socket_have_the_records_of_what_each_of_them_reads() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            let read = |tenant| {
                let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_labelled(&meta.unwrap(), tenant);
            };
            // Enabled by a child, used by the parent and another child, which both never asked.
            in_child(|| server.enable_packet_meta().unwrap());
            for tenant in 1..=4 {
                send(&lab, &server, tenant, b"hello");
            }
            read(1);
            in_child(|| read(2));
            in_child(|| read(3));
            read(4);
        }
    });
}

#[test]
fn threads_that_share_a_socket_have_the_records_of_what_each_of_them_reads() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in Lab::TENANTS {
                send(&lab, &server, tenant, &[tenant as u8]);
            }
            let numbers: BTreeSet<u64> = thread::scope(|scope| {
                let read = || {
                    let mut buffer = [0];
                    let meta = server.recv_from_meta(&mut buffer).unwrap().meta;
                    let meta = meta.unwrap();
                    assert_labelled(&meta, buffer[0].into());
                    meta.get(builtin::PACKET_NUMBER).unwrap()
                };
                let readers: Vec<_> = Lab::TENANTS.map(|_| scope.spawn(read)).collect();
                readers
                    .into_iter()
                    .map(|reader| reader.join().unwrap())
                    .collect()
            });
            assert_eq!(numbers.len(), Lab::TENANTS.count());
        }
    });
}
