//! Datagrams that the kernel merged, for sockets with `UDP_GRO`.

use super::{group::Group, message::Message};
use crate::lab::{Lab, assert_labelled, set_option};
use pktmeta::{Batch, Received, UdpMeta, builtin};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::net::UdpSocket;

const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

/// Bytes in each segment, and how many of them.
const SEGMENT: usize = 100;
const SEGMENTS: usize = 8;

/// Fields that are the same in front of each packet of a flow.
const CONSTANT: [&str; 2] = ["rx_ifindex", "flow_hash"];

#[test]
fn a_merged_buffer_has_one_ticket_and_the_record_that_all_its_segments_had() {
    in_sandbox(|sandbox| {
        let lab = lab_that_produces(sandbox, &CONSTANT);
        for version in IpVersion::BOTH {
            let server = merging_server(&lab, version);
            for tenant in Lab::TENANTS {
                send_segments(&lab, &server, tenant);
                let message = Message::receive(&server, SEGMENTS * SEGMENT, 0);
                assert_eq!(segment_size(&message), Some(SEGMENT as u32));
                assert_eq!(message.payload, payload(tenant));
                let meta = server.control_meta(&message.control).unwrap();
                assert_labelled(&meta, tenant);
                let ifindex = Some(lab.hosts.server_ifindex());
                assert_eq!(meta.get(builtin::RX_IFINDEX), ifindex);
            }
            // With what the library offers.
            send_segments(&lab, &server, 1);
            let mut buffer = [0; SEGMENTS * SEGMENT];
            let Received {
                len: length, meta, ..
            } = server.recv_from_meta(&mut buffer).unwrap();
            assert_eq!(buffer[..length], payload(1));
            assert_labelled(&meta.unwrap(), 1);
            send_segments(&lab, &server, 2);
            let mut batch = Batch::new(2, SEGMENTS * SEGMENT);
            assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), SEGMENTS);
            for (datagram, sent) in batch.iter().zip(payload(2).chunks(SEGMENT)) {
                assert_eq!(datagram.data, sent);
                assert_labelled(datagram.meta.unwrap(), 2);
            }
        }
    });
}

#[test]
fn datagrams_with_different_records_are_not_merged() {
    in_sandbox(|sandbox| {
        let lab = lab_that_produces(sandbox, &["rx_ifindex", "packet_number"]);
        for version in IpVersion::BOTH {
            let server = merging_server(&lab, version);
            for tenant in Lab::TENANTS {
                send_segments(&lab, &server, tenant);
                let mut last = None;
                for segment in payload(tenant).chunks(SEGMENT) {
                    let message = Message::receive(&server, SEGMENTS * SEGMENT, 0);
                    assert_eq!(segment_size(&message), None);
                    assert_eq!(message.payload, segment);
                    let meta = server.control_meta(&message.control).unwrap();
                    assert_labelled(&meta, tenant);
                    let number = meta.get(builtin::PACKET_NUMBER);
                    assert!(number > last, "{number:?} after {last:?}");
                    last = number;
                }
            }
        }
    });
}

#[test]
fn a_socket_that_does_not_merge_has_the_record_of_each_segment() {
    in_sandbox(|sandbox| {
        let lab = lab_that_produces(sandbox, &CONSTANT);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            send_segments(&lab, &server, 5);
            for segment in payload(5).chunks(SEGMENT) {
                let mut buffer = [0; SEGMENTS * SEGMENT];
                let Received {
                    len: length, meta, ..
                } = server.recv_from_meta(&mut buffer).unwrap();
                assert_eq!(buffer[..length], *segment);
                assert_labelled(&meta.unwrap(), 5);
            }
        }
    });
}

#[test]
fn what_the_kernel_splits_again_for_a_socket_that_does_not_merge_has_no_record() {
    in_sandbox(|sandbox| {
        let lab = lab_that_produces(sandbox, &CONSTANT);
        for version in IpVersion::BOTH {
            let plain = Group::of(version).join(&lab);
            let group = Group::at(plain.local_addr().unwrap());
            // The last to join is the one that GRO asks.
            let merging = group.join(&lab);
            for server in [&merging, &plain] {
                server.enable_packet_meta().unwrap();
            }
            set_option(&merging, libc::SOL_UDP, UDP_GRO, 1);
            let client = group.sender(&lab, 6);
            set_option(&client, libc::SOL_UDP, UDP_SEGMENT, SEGMENT as i32);
            client.send_to(&payload(6), group.address()).unwrap();

            let message = Message::receive(&merging, SEGMENTS * SEGMENT, 0);
            assert_eq!(segment_size(&message), Some(SEGMENT as u32));
            assert_labelled(&merging.control_meta(&message.control).unwrap(), 6);
            for segment in payload(6).chunks(SEGMENT) {
                let message = Message::receive(&plain, SEGMENTS * SEGMENT, 0);
                assert_eq!(message.payload, segment);
                assert!(plain.control_meta(&message.control).unwrap().is_absent());
            }
        }
    });
}

fn lab_that_produces(sandbox: &Sandbox, fields: &[&str]) -> Lab {
    let fields = fields.iter().copied().map(String::from).collect();
    let lab = Lab::up_with(sandbox, |options| options.produce = fields);
    lab.enable_gro();
    lab
}

fn merging_server(lab: &Lab, version: IpVersion) -> UdpSocket {
    let server = lab.udp_server(version);
    set_option(&server, libc::SOL_UDP, UDP_GRO, 1);
    server.enable_packet_meta().unwrap();
    server
}

/// Sends segments in one call: the device gets them one by one, and its NAPI all at once.
fn send_segments(lab: &Lab, server: &UdpSocket, tenant: u32) {
    let to = server.local_addr().unwrap();
    let client = lab.udp_client(crate::lab::version_of(to), tenant);
    set_option(&client, libc::SOL_UDP, UDP_SEGMENT, SEGMENT as i32);
    client.send_to(&payload(tenant), to).unwrap();
}

/// Segments that differ.
fn payload(tenant: u32) -> Vec<u8> {
    (0..SEGMENTS)
        .flat_map(|segment| [tenant as u8 * 16 + segment as u8; SEGMENT])
        .collect()
}

/// How long each segment is of what was merged.
fn segment_size(message: &Message) -> Option<u32> {
    message.number(libc::SOL_UDP, UDP_GRO)
}
