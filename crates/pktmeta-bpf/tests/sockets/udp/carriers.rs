//! Where tickets stand, and that applications can use the rest as ever.

use super::{
    foreign::{descriptor, instruction, program},
    message::Message,
    ring::{self, Slot},
    sending::{assert_not_enabled, send},
};
use crate::{
    bpf,
    lab::{Lab, assert_labelled, get_option, in_child, set_option},
};
use pktmeta::{Carrier, Reason, UdpMeta};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_core::{
    abi,
    linux::{SO_RCVMARK, SO_RCVPRIORITY},
};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    fs,
    net::UdpSocket,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
    time::{Duration, SystemTime},
};

/// What somebody else's TC program gives every packet.
const MARK: u32 = 0x1234_5678;
const PRIORITY: u32 = 5;

const TCX_NEXT: i32 = -1;

#[test]
fn tickets_in_the_mark_leave_the_priority_and_the_rest_alone() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            let server = receiver_of_everything(&lab, version);
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 1, b"hello");
            let message = Message::receive(&server, 16, 0);
            assert_labelled(&server.control_meta(&message.control).unwrap(), 1);
            assert_ne!(mark(&message), Some(MARK));
            assert_eq!(priority(&message), Some(PRIORITY));
            assert_rest(&message, version);
        }
    });
}

/// What it costs an application with a buffer of a fixed size: quinn-udp has 88 bytes, and all but
/// 8 of them are used before there are tickets.
#[test]
fn a_ticket_takes_24_bytes_and_pushes_out_what_udp_and_ip_say_last() {
    const BUFFER: usize = 88;
    const PKTINFO: usize = 32;
    const TOS: usize = 24;
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let server = lab.udp_server(IpVersion::V4);
        server.enable_arrival().unwrap();
        send(&lab, &server, 1, b"before");
        let before = Message::receive(&server, 16, 0);
        assert_eq!(before.control.len(), PKTINFO + TOS);
        for (carrier, bytes) in [(Carrier::Mark, 24), (Carrier::Timestamp, 32)] {
            let server = lab.udp_server(IpVersion::V4);
            server.enable_arrival().unwrap();
            server.enable_gro().unwrap();
            server.enable_packet_meta_in(carrier).unwrap();
            send(&lab, &server, 1, b"after");
            let after = Message::receive(&server, 16, 0);
            assert_eq!(after.control.len(), bytes + PKTINFO + TOS);
            let room = BUFFER - TOS; // GRO's size
            let kept = &after.control[..room.min(after.control.len())];
            assert_labelled(&server.control_meta(kept).unwrap(), 1);
            assert!(after.control.len() > room, "the last is what has no room");
            assert!(after.find(libc::IPPROTO_IP, libc::IP_TOS).is_some());
            // With what the library offers, all is there.
            send(&lab, &server, 2, b"after");
            let received = server.recv_from_meta(&mut [0; 16]).unwrap();
            assert_labelled(&received.meta.unwrap(), 2);
            assert!(received.arrival.ecn.is_some() && received.arrival.local.is_some());
        }
    });
}

#[test]
fn tickets_in_the_priority_leave_the_mark_and_the_rest_alone() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            let server = receiver_of_everything(&lab, version);
            server.enable_packet_meta_in(Carrier::Priority).unwrap();
            send(&lab, &server, 1, b"hello");
            let message = Message::receive(&server, 16, 0);
            assert_labelled(&server.control_meta(&message.control).unwrap(), 1);
            assert_eq!(mark(&message), Some(MARK));
            assert_ne!(priority(&message), Some(PRIORITY));
            assert_rest(&message, version);
        }
    });
}

#[test]
fn tickets_in_the_time_of_arrival_leave_mark_and_priority_alone() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            let server = receiver_of_everything(&lab, version);
            send(&lab, &server, 1, b"early");
            server.enable_packet_meta_in(Carrier::Timestamp).unwrap();
            send(&lab, &server, 2, b"labelled");
            // Nobody labels what goes over loopback.
            let neighbour = lab.udp_server(version);
            neighbour
                .send_to(b"not labelled", server.local_addr().unwrap())
                .unwrap();

            let early = Message::receive(&server, 16, 0);
            assert_rest(&early, version);
            assert_not_enabled(server.control_meta(&early.control));

            let labelled = Message::receive(&server, 16, 0);
            assert_eq!(mark(&labelled), Some(MARK));
            assert_eq!(priority(&labelled), Some(PRIORITY));
            let meta = server.control_meta(&labelled.control).unwrap();
            assert_labelled(&meta, 2);
            let ticket = u32::try_from(arrival(&labelled).as_nanos()).unwrap();
            let slot = slot(sandbox, ticket);
            assert_eq!((slot.ticket, slot.displaced), (ticket, 0));
            assert!(slot.record.starts_with(meta.record().unwrap().as_bytes()));

            let absent = Message::receive(&server, 16, 0);
            let ticket = Duration::from_nanos(abi::TICKET_ABSENT.into());
            assert_eq!(arrival(&absent), ticket);
            let absent = server.control_meta(&absent.control).unwrap();
            assert!(absent.is_absent());
        }
    });
}

#[test]
fn a_socket_can_move_its_tickets_elsewhere() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            let carriers = [Carrier::Mark, Carrier::Priority, Carrier::Timestamp];
            for (tenant, carrier) in (1..).zip(carriers.into_iter().cycle().take(6)) {
                // What waits has its ticket elsewhere.
                send(&lab, &server, 8, b"waits");
                server.enable_packet_meta_in(carrier).unwrap();
                send(&lab, &server, tenant, b"hello");
                let waited = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_not_enabled(waited);
                let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                assert_labelled(&meta.unwrap(), tenant);
            }
        }
    });
}

#[test]
fn what_a_ticket_took_the_place_of_stands_in_its_slot() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            for (carrier, kind, displaced) in [
                (Carrier::Mark, libc::SO_MARK, MARK),
                (Carrier::Priority, libc::SO_PRIORITY, PRIORITY),
            ] {
                let server = receiver_of_everything(&lab, version);
                server.enable_packet_meta_in(carrier).unwrap();
                send(&lab, &server, 1, b"hello");
                let message = Message::receive(&server, 16, 0);
                let meta = server.control_meta(&message.control).unwrap();
                assert_labelled(&meta, 1);
                assert_eq!(meta.displaced(), Some(displaced));
                let ticket = message.number(libc::SOL_SOCKET, kind).unwrap();
                assert_eq!(slot(sandbox, ticket).displaced, displaced);
            }
        }
    });
}

#[test]
fn a_process_without_capabilities_and_without_the_ring_can_have_any_carrier() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let carriers = [Carrier::Mark, Carrier::Priority, Carrier::Timestamp];
        for carrier in carriers.map(Some).into_iter().chain([None]) {
            let server = lab.udp_server(IpVersion::V6);
            in_child(|| {
                // SAFETY: this process has no other thread.
                assert_eq!(unsafe { libc::setuid(65534) }, 0);
                match carrier {
                    Some(carrier) => server.enable_packet_meta_in(carrier).unwrap(),
                    None => server.enable_packet_meta().unwrap(),
                }
            });
            send(&lab, &server, 3, b"hello");
            in_child(|| {
                // SAFETY: as above.
                assert_eq!(unsafe { libc::setuid(65534) }, 0);
                let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                let meta = meta.unwrap();
                assert_labelled(&meta, 3);
                assert_eq!(meta.displaced(), None);
            });
        }
    });
}

#[test]
fn where_one_carrier_is_refused_the_next_is_taken_unless_that_one_was_asked_for() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _withheld = withhold_marks(sandbox);
        let server = lab.udp_server(IpVersion::V6);
        let carrier = || {
            let answer = get_option(&server, abi::SOL_PKTMETA, abi::PKTMETA_TICKETS).unwrap();
            i32::from_ne_bytes(answer.try_into().unwrap())
        };
        let refused = server.enable_packet_meta_in(Carrier::Mark).unwrap_err();
        assert!(refused.is_unavailable(Reason::NoTickets), "{refused:?}");
        assert_eq!(carrier(), abi::PKTMETA_TICKETS_OFF);
        server.enable_packet_meta().unwrap();
        assert_eq!(carrier(), abi::PKTMETA_TICKETS_PRIORITY);
        send(&lab, &server, 3, b"hello");
        let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
        assert_labelled(&meta.unwrap(), 3);
    });
}

#[test]
fn a_mark_without_a_record_has_a_slot_too() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            // Over loopback, where nobody labels.
            let neighbour = lab.udp_server(version);
            set_option(&neighbour, libc::SOL_SOCKET, libc::SO_MARK, MARK as i32);
            neighbour
                .send_to(b"hello", server.local_addr().unwrap())
                .unwrap();
            let message = Message::receive(&server, 16, 0);
            let ticket = mark(&message).unwrap();
            let slot = slot(sandbox, ticket);
            assert_eq!((slot.ticket, slot.displaced), (ticket, MARK));
            assert_eq!(slot.record[..4], [0; 4]);
            let meta = server.control_meta(&message.control).unwrap();
            assert!(meta.is_absent());
            assert_eq!(meta.displaced(), Some(MARK));
            let answer = get_option(&server, abi::SOL_PKTMETA_DGRAM, ticket as i32);
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ENODATA));
        }
    });
}

#[test]
fn a_socket_without_tickets_sees_what_it_always_saw() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            let server = receiver_of_everything(&lab, version);
            send(&lab, &server, 1, b"hello");
            let message = Message::receive(&server, 16, 0);
            assert_eq!(mark(&message), Some(MARK));
            assert_eq!(priority(&message), Some(PRIORITY));
            assert_rest(&message, version);
            assert_not_enabled(server.control_meta(&message.control));

            // Nor once it does not want them any more.
            server.enable_packet_meta().unwrap();
            let off = abi::PKTMETA_TICKETS_OFF;
            set_option(&server, abi::SOL_PKTMETA, abi::PKTMETA_TICKETS, off);
            send(&lab, &server, 1, b"hello");
            let message = Message::receive(&server, 16, 0);
            assert_eq!(mark(&message), Some(MARK));
            assert_eq!(priority(&message), Some(PRIORITY));
        }
    });
}

#[test]
fn a_mark_that_somebody_else_set_is_never_taken_for_a_ticket() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let _marker = mark_packets(&lab);
        for version in IpVersion::BOTH {
            // Marked, and queued before tickets were asked for.
            let server = lab.udp_server(version);
            set_option(&server, libc::SOL_SOCKET, SO_RCVMARK, 1);
            send(&lab, &server, 1, b"early");
            server.enable_packet_meta().unwrap();
            send(&lab, &server, 2, b"later");
            let early = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            let error = early.unwrap_err();
            assert!(matches!(error, pktmeta::Error::Overrun), "{error:?}");
            let later = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
            assert_labelled(&later.unwrap(), 2);
        }
    });
}

/// A socket of the server that gets every control message that might be in the way.
fn receiver_of_everything(lab: &Lab, version: IpVersion) -> UdpSocket {
    let server = lab.udp_server(version);
    let of_version: &[(i32, i32)] = match version {
        IpVersion::V4 => &[
            (libc::IPPROTO_IP, libc::IP_PKTINFO),
            (libc::IPPROTO_IP, libc::IP_RECVTTL),
            (libc::IPPROTO_IP, libc::IP_RECVTOS),
        ],
        IpVersion::V6 => &[
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        ],
    };
    let of_any = [
        (libc::SOL_SOCKET, SO_RCVMARK),
        (libc::SOL_SOCKET, SO_RCVPRIORITY),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    ];
    for &(level, name) in of_any.iter().chain(of_version) {
        set_option(&server, level, name, 1);
    }
    server
}

fn mark(message: &Message) -> Option<u32> {
    message.number(libc::SOL_SOCKET, libc::SO_MARK)
}

fn priority(message: &Message) -> Option<u32> {
    message.number(libc::SOL_SOCKET, libc::SO_PRIORITY)
}

/// When it arrived, since 1970, or its ticket.
fn arrival(message: &Message) -> Duration {
    let time = message
        .find(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
        .unwrap();
    let [seconds, nanoseconds] =
        [0, 8].map(|at| u64::from_ne_bytes(*time[at..].first_chunk().unwrap()));
    Duration::new(seconds, nanoseconds as u32)
}

/// The slot of a ticket.
fn slot(sandbox: &Sandbox, ticket: u32) -> Slot {
    let ring = ring::open(&ring::ring_of(sandbox, sandbox.cgroup())).unwrap();
    Slot::read(&ring, ticket)
}

/// What carries no ticket says what it says without pktmeta.
#[track_caller]
fn assert_rest(message: &Message, version: IpVersion) {
    let time = message
        .find(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
        .unwrap();
    let seconds = u64::from_ne_bytes(*time.first_chunk().unwrap());
    let arrived = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let age = SystemTime::now().duration_since(arrived).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
    let (level, hops, information) = match version {
        IpVersion::V4 => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_PKTINFO),
        IpVersion::V6 => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_PKTINFO),
    };
    assert_eq!(message.number(level, hops), Some(64));
    assert!(message.find(level, information).is_some());
}

/// Refuses `SO_RCVMARK` to the sockets of the sandbox, until it is dropped.
fn withhold_marks(sandbox: &Sandbox) -> OwnedFd {
    let elf = bpf::compile("udp/withhold.bpf.c");
    let object = Object::load("withhold", &elf, &ObjectOptions::default()).unwrap();
    let program = object.program("withhold").unwrap();
    let cgroup = fs::File::open(sandbox.cgroup()).unwrap();
    // SAFETY: the program and the cgroup are descriptors of ours; no options are passed.
    descriptor(unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            cgroup.as_raw_fd(),
            libbpf_sys::BPF_CGROUP_SETSOCKOPT,
            ptr::null(),
        )
    })
}

/// Attaches a program of somebody else's to the server's TC ingress, until it is dropped.
fn mark_packets(lab: &Lab) -> OwnedFd {
    const CONTEXT: u8 = libbpf_sys::BPF_REG_1 as u8;
    let store = |offset, value| libbpf_sys::bpf_insn {
        off: offset,
        imm: value,
        ..instruction(
            libbpf_sys::BPF_ST | libbpf_sys::BPF_MEM | libbpf_sys::BPF_W,
            CONTEXT,
        )
    };
    // Of `struct __sk_buff`.
    let (mark_at, priority_at) = (8, 32);
    let marks = [
        store(mark_at, MARK as i32),
        store(priority_at, PRIORITY as i32),
    ];
    let program = program(
        libbpf_sys::BPF_PROG_TYPE_SCHED_CLS,
        c"mark",
        &marks,
        TCX_NEXT,
    );
    let (ifindex, attach) = (
        lab.hosts.server_ifindex() as i32,
        libbpf_sys::BPF_TCX_INGRESS,
    );
    lab.hosts.server().run(|| {
        // SAFETY: the program is a descriptor of ours; no options are passed.
        descriptor(unsafe {
            libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, attach, ptr::null())
        })
    })
}
