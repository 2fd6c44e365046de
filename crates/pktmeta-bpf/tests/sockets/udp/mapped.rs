//! What applications read of the ring that they have in their memory.

use super::{message::Message, ring, sending::send};
use crate::{
    lab::{Lab, assert_labelled, set_option},
    options::{get, get_at, set},
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta::{Error, Record, UdpMeta};
use pktmeta_core::{abi, linux::SO_RCVPRIORITY};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{net::UdpSocket, os::fd::AsRawFd};

#[test]
fn a_slot_is_read_by_the_socket_whose_it_is_while_it_is() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let ring = open(sandbox);
        let slots = ring.max_entries() - 1;
        for version in IpVersion::BOTH {
            let (own, other) = (server(&lab, version), server(&lab, version));
            send(&lab, &own, 1, b"hello");
            let message = Message::receive(&own, 16, 0);
            let ticket = ticket(&message);
            let whole = slot_bytes(&ring, ticket);
            assert_overrun(&other, &message);
            for there in [ticket.wrapping_add(slots), ticket.wrapping_sub(slots), 0, 1] {
                write(&ring, ticket, &[&there.to_ne_bytes(), &whole[4..]].concat());
                assert_overrun(&own, &message);
            }
            write(&ring, ticket, &whole);
            assert_labelled(&own.control_meta(&message.control).unwrap(), 1);
        }
    });
}

#[test]
fn a_record_of_the_longest_length_is_read_whole() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let ring = open(sandbox);
        let server = server(&lab, IpVersion::V4);
        send(&lab, &server, 1, b"hello");
        let message = Message::receive(&server, 16, 0);
        let ticket = ticket(&message);
        let mut slot = slot_bytes(&ring, ticket);
        let void = Record::CAPACITY - Record::HEADER - 2;
        let header = [b'P', b'M', 0x10, Record::CAPACITY as u8, 0, void as u8];
        let longest = [&header[..], &vec![0; void]].concat();
        slot[16..][..Record::CAPACITY].copy_from_slice(&longest);
        write(&ring, ticket, &slot);
        let answer = get_at(&server, abi::SOL_PKTMETA_DGRAM, ticket as i32, 256);
        assert_eq!(answer.as_ref(), Ok(&longest));
        let meta = server.control_meta(&message.control).unwrap();
        assert_eq!(meta.record().unwrap().as_bytes(), longest);
    });
}

#[test]
fn a_socket_that_asks_for_tickets_twice_has_them_once() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = server(&lab, version);
            let where_tickets_are = get(&server, abi::PKTMETA_TICKETS);
            send(&lab, &server, 1, b"before");
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 2, b"after");
            assert_eq!(get(&server, abi::PKTMETA_TICKETS), where_tickets_are);
            for tenant in [1, 2] {
                let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_labelled(&meta.unwrap(), tenant);
            }
        }
    });
}

#[test]
fn a_socket_for_which_others_asked_for_tickets_has_them_handed_over() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            let mark = abi::PKTMETA_TICKETS_MARK.to_ne_bytes();
            set(&server, abi::PKTMETA_TICKETS, &mark).unwrap();
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 1, b"hello");
            let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 1);
        }
    });
}

#[test]
fn a_socket_that_took_anothers_descriptor_has_its_own_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = server(&lab, version);
            send(&lab, &socket, 1, b"first");
            let meta = socket.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 1);
            // Another, with its tickets elsewhere, of which the library was not told.
            let other = lab.udp_server(version);
            let priority = abi::PKTMETA_TICKETS_PRIORITY.to_ne_bytes();
            set(&other, abi::PKTMETA_TICKETS, &priority).unwrap();
            set_option(&other, libc::SOL_SOCKET, SO_RCVPRIORITY, 1);
            // SAFETY: both descriptors are open.
            let same = unsafe { libc::dup2(other.as_raw_fd(), socket.as_raw_fd()) };
            assert_eq!(same, socket.as_raw_fd());
            send(&lab, &socket, 2, b"second");
            let meta = socket.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&meta.unwrap(), 2);
        }
    });
}

#[test]
fn tickets_are_asked_for_in_a_place_that_there_is() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let server = lab.udp_server(IpVersion::V4);
        for carrier in [
            abi::PKTMETA_TICKETS_MARK,
            abi::PKTMETA_TICKETS_PRIORITY,
            abi::PKTMETA_TICKETS_TIMESTAMP,
            abi::PKTMETA_TICKETS_OFF,
        ] {
            let bytes = carrier.to_ne_bytes();
            set(&server, abi::PKTMETA_TICKETS, &bytes).unwrap();
            for wrong in [-1, abi::PKTMETA_TICKETS_TIMESTAMP + 1, i32::MIN, i32::MAX] {
                let refused = set(&server, abi::PKTMETA_TICKETS, &wrong.to_ne_bytes());
                assert_eq!(refused, Err(libc::EINVAL), "{wrong}");
            }
            assert_eq!(get(&server, abi::PKTMETA_TICKETS), Ok(bytes.to_vec()));
        }
    });
}

fn server(lab: &Lab, version: IpVersion) -> UdpSocket {
    let server = lab.udp_server(version);
    server.enable_packet_meta().unwrap();
    server
}

fn open(sandbox: &Sandbox) -> MapHandle {
    ring::open(&ring::ring_of(sandbox, sandbox.cgroup())).unwrap()
}

fn ticket(message: &Message) -> u32 {
    message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap()
}

fn slot_bytes(ring: &MapHandle, ticket: u32) -> Vec<u8> {
    let index = ticket % (ring.max_entries() - 1);
    let slot = ring.lookup(&index.to_ne_bytes(), MapFlags::ANY);
    slot.unwrap().unwrap()
}

fn write(ring: &MapHandle, ticket: u32, slot: &[u8]) {
    let index = ticket % (ring.max_entries() - 1);
    let written = ring.update(&index.to_ne_bytes(), slot, MapFlags::ANY);
    written.unwrap();
}

#[track_caller]
fn assert_overrun(socket: &UdpSocket, message: &Message) {
    let meta = socket.control_meta(&message.control);
    assert!(matches!(meta, Err(Error::Overrun)), "{meta:?}");
}
