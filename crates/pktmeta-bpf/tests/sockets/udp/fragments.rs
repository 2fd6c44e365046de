//! Datagrams that are longer than the wire allows. Each fragment is a packet and has a record; the
//! datagram has one of them.

use super::message::Message;
use crate::lab::{Lab, assert_labelled, send_frame, tenant_address};
use pktmeta::{UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, packet::Frame, sandbox::in_sandbox};
use std::{
    mem,
    net::{SocketAddr, UdpSocket},
};

#[test]
fn a_fragmented_datagram_has_the_record_of_its_first_fragment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            let client = lab.udp_client(version, 2);
            client.connect(server.local_addr().unwrap()).unwrap();
            let long: Vec<u8> = (0..4000).map(|at| at as u8).collect();
            let place = place_of_record(|| {
                for payload in [b"before", long.as_slice(), b"after"] {
                    client.send(payload).unwrap();
                }
                ["before".len(), long.len(), "after".len()]
                    .map(|length| receive(&server, 2, length))
            });
            assert_eq!(place, 1, "{version:?}");
        }
    });
}

#[test]
fn fragments_out_of_order_have_the_record_of_the_one_with_the_ports() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (client, peer) = (lab.hosts.client_link(), lab.hosts.server_link());
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            let from = SocketAddr::new(tenant_address(version, 3), 4000);
            let to = server.local_addr().unwrap();
            let frame = Frame::new(from, to).macs(client.mac(), peer.mac());
            let payload = [7; 600];
            let [first, middle, last] = fragments(&frame.udp(&payload));
            let [before, after] = [b"before".as_slice(), b"after"].map(|text| frame.udp(text));
            for (order, place) in [
                ([&first, &middle, &last], 1),
                ([&last, &middle, &first], 3),
                ([&middle, &first, &last], 2),
                ([&middle, &last, &first], 3),
            ] {
                let found = place_of_record(|| {
                    for frame in [&before].into_iter().chain(order).chain([&after]) {
                        send_frame(client, frame);
                    }
                    ["before".len(), payload.len(), "after".len()]
                        .map(|length| receive(&server, 3, length))
                });
                assert_eq!(found, place, "{version:?}");
            }
        }
    });
}

/// Which of three fragments the record is of, from 1, by the numbers of the packets whose records a
/// datagram before, the fragmented one, and one after it have.
fn place_of_record(numbers: impl FnMut() -> [u64; 3]) -> u64 {
    let [before, fragmented, _] = std::iter::repeat_with(numbers)
        .take(10)
        // Unless the client's kernel sent something else between them, as it does for IPv6.
        .find(|[before, _, after]| after - before == 4)
        .unwrap();
    fragmented - before
}

/// Receives a datagram of `tenant`; the number of the packet whose record it has.
#[track_caller]
fn receive(server: &UdpSocket, tenant: u32, length: usize) -> u64 {
    let message = Message::receive(server, 8192, 0);
    assert_eq!(message.payload.len(), length);
    let meta = server.control_meta(&message.control).unwrap();
    assert_labelled(&meta, tenant);
    meta.get(builtin::PACKET_NUMBER).unwrap()
}

const ETHERNET: usize = 14;

/// The fragments of a frame's IP packet. There is no option that makes the kernel send them in
/// another order.
fn fragments(frame: &[u8]) -> [Vec<u8>; 3] {
    // A multiple of 8 bytes in all but the last (RFC 791, section 3.1; RFC 8200, section 4.5).
    const EACH: usize = 208;
    let ipv4 = frame[ETHERNET] >> 4 == 4;
    let (header, payload) = frame.split_at(ETHERNET + if ipv4 { 20 } else { 40 });
    [0, 1, 2].map(|n| {
        let (from, more) = (n * EACH, n < 2);
        let part = &payload[from..if more { from + EACH } else { payload.len() }];
        let mut fragment = header.to_vec();
        if ipv4 {
            let word = (from / 8) as u16 | u16::from(more) << 13;
            set_u16(&mut fragment, ETHERNET + 2, 20 + part.len() as u16);
            set_u16(&mut fragment, ETHERNET + 6, word);
            set_u16(&mut fragment, ETHERNET + 10, 0);
            let sum = ip_checksum(&fragment[ETHERNET..]);
            set_u16(&mut fragment, ETHERNET + 10, sum);
        } else {
            const FRAGMENT_HEADER: u8 = 44;
            let word = from as u16 | u16::from(more);
            set_u16(&mut fragment, ETHERNET + 4, 8 + part.len() as u16);
            let next = mem::replace(&mut fragment[ETHERNET + 6], FRAGMENT_HEADER);
            fragment.extend([next, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
            let at = fragment.len() - 6;
            set_u16(&mut fragment, at, word);
        }
        fragment.extend(part);
        fragment
    })
}

fn set_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn ip_checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
