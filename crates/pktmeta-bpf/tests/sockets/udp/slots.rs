//! Slots of the ring that had an occupant before, have another now, or are being written.

use super::{
    message::Message,
    ring::{Slot, open, ring_of},
    sending::send,
};
use crate::{
    lab::{Lab, get_option, set_option},
    options::set,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use libc::{ENODATA, ESTALE};
use pktmeta::UdpMeta;
use pktmeta_core::abi;
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{mem, net::UdpSocket};

const LEVELS: [i32; 3] = [
    abi::SOL_PKTMETA_DGRAM,
    abi::SOL_PKTMETA_DGRAM_FIELDS,
    abi::SOL_PKTMETA_DGRAM_DISPLACED,
];

#[test]
fn a_ticket_is_answered_to_its_own_socket_while_its_slot_is_its() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let ring = open(&ring_of(sandbox, sandbox.cgroup())).unwrap();
        let slots = ring.max_entries() - 1;
        for version in IpVersion::BOTH {
            let [server, other] = [(); 2].map(|()| receiver(&lab, version));
            send(&lab, &server, 3, b"hello");
            let ticket = ticket_of_next(&server);
            assert_eq!(ask(&server, ticket), [None; 3]);
            assert_eq!(ask(&other, ticket), [Some(ESTALE); 3]);
            // Neither of an earlier nor of a later occupant of the slot, nor while it is written.
            for there in [ticket.wrapping_add(slots), ticket.wrapping_sub(slots), 0, 1] {
                put(&ring, ticket % slots, there, ticket);
                assert_eq!(ask(&server, ticket), [Some(ESTALE); 3], "{there:#x}");
            }
            put(&ring, ticket % slots, ticket, ticket);
            assert_eq!(ask(&server, ticket), [None; 3]);
        }
    });
}

#[test]
fn no_ticket_and_the_ticket_of_no_record_have_no_slot_whatever_stands_there() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let ring = open(&ring_of(sandbox, sandbox.cgroup())).unwrap();
        for version in IpVersion::BOTH {
            let server = receiver(&lab, version);
            send(&lab, &server, 3, b"hello");
            let ticket = ticket_of_next(&server);
            let absent = [Some(ENODATA), Some(ENODATA), None];
            assert_eq!(ask(&server, 0), [Some(ESTALE); 3]);
            assert_eq!(ask(&server, abi::TICKET_ABSENT), absent);
            for there in [0, 1] {
                put(&ring, 0, there, ticket);
                put(&ring, 1, there, ticket);
                assert_eq!(ask(&server, 0), [Some(ESTALE); 3]);
                assert_eq!(ask(&server, abi::TICKET_ABSENT), absent);
            }
            let level = abi::SOL_PKTMETA_DGRAM_DISPLACED;
            let displaced = get_option(&server, level, abi::TICKET_ABSENT as i32);
            assert_eq!(displaced.unwrap(), [0; 4]);
        }
    });
}

#[test]
fn a_mark_without_a_record_in_a_slot_that_had_one_has_none() {
    const MARK: u32 = 0x1234_5678;
    in_sandbox(|sandbox| {
        // One CPU issues all tickets.
        // SAFETY: a set of zeros is an empty one, and the kernel reads as much as it has.
        unsafe {
            let mut cpus: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(0, &mut cpus);
            assert_eq!(libc::sched_setaffinity(0, size_of_val(&cpus), &cpus), 0);
        }
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = receiver(&lab, version);
            start_at(sandbox, 5000);
            send(&lab, &server, 3, b"hello");
            let first = ticket_of_next(&server);
            assert_eq!(ask(&server, first), [None; 3]);
            // The same ticket again, for a datagram that nobody labels.
            start_at(sandbox, 5000);
            let neighbour = lab.udp_server(version);
            set_option(&neighbour, libc::SOL_SOCKET, libc::SO_MARK, MARK as i32);
            neighbour
                .send_to(b"hello", server.local_addr().unwrap())
                .unwrap();
            let message = Message::receive(&server, 16, 0);
            let ticket = message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap();
            assert_eq!(ticket, first);
            assert!(server.control_meta(&message.control).unwrap().is_absent());
            assert_eq!(ask(&server, ticket), [Some(ENODATA), Some(ENODATA), None]);
            let level = abi::SOL_PKTMETA_DGRAM_DISPLACED;
            let displaced = get_option(&server, level, ticket as i32).unwrap();
            assert_eq!(displaced, MARK.to_ne_bytes());
        }
    });
}

/// A socket with tickets that wants its first field.
fn receiver(lab: &Lab, version: IpVersion) -> UdpSocket {
    let server = lab.udp_server(version);
    server.enable_packet_meta().unwrap();
    server.enable_packet_meta().unwrap(); // again is the same
    set(&server, abi::PKTMETA_FIELDS, &[1]).unwrap();
    server
}

fn ticket_of_next(server: &UdpSocket) -> u32 {
    let message = Message::receive(server, 16, 0);
    message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap()
}

/// The errors of all that can be asked with a ticket.
fn ask(socket: &UdpSocket, ticket: u32) -> [Option<i32>; 3] {
    LEVELS.map(|level| {
        let error = get_option(socket, level, ticket as i32).err()?;
        error.raw_os_error()
    })
}

/// Lets a slot have a ticket, and all else that the slot of another has.
fn put(ring: &MapHandle, index: u32, ticket: u32, from: u32) {
    let from = Slot::read(ring, from);
    let mut value = ticket.to_ne_bytes().to_vec();
    value.extend(from.displaced.to_ne_bytes());
    value.extend(from.cookie.to_ne_bytes());
    value.extend(from.record);
    value.resize(abi::SLOT_SIZE, 0);
    ring.update(&index.to_ne_bytes(), &value, MapFlags::ANY)
        .unwrap();
    // What stands there is the socket's.
    assert_eq!(Slot::read(ring, index).ticket, ticket);
}

/// Which ticket each CPU issues next.
fn start_at(sandbox: &Sandbox, count: u32) {
    let issued = ring_of(sandbox, sandbox.cgroup()).with_file_name("issued");
    let issued = MapHandle::from_pinned_path(issued).unwrap();
    let counters = vec![count.to_ne_bytes().to_vec(); libbpf_rs::num_possible_cpus().unwrap()];
    issued
        .update_percpu(&[0; 4], &counters, MapFlags::ANY)
        .unwrap();
}
