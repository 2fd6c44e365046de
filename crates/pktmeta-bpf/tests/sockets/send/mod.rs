//! What applications say of what they send, as programs at egress read it.

mod observer;

use crate::lab::{
    LIMIT, Lab, TRACE, app_schema, client_address, down, in_child, listen, set_option, tcp_socket,
};
use crate::options::set_at;
use observer::{Observer, Place};
use pktmeta::{Error, Field, FieldName, MetaSender, Outgoing, RecordError, SendMeta, ToRecord};
use pktmeta_bpf::{Datapath, Senders, UpOptions};
use pktmeta_core::{abi, schema::Schema};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use socket2::{MsgHdr, SockRef};
use std::{
    io::{IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
};

const KEY: Field<[u8; 64]> = Field::new("key");
const RULE: Field<u32> = Field::new("rule");

/// Of IP and UDP.
const HEADERS: [(IpVersion, u64); 2] = [(IpVersion::V4, 20 + 8), (IpVersion::V6, 40 + 8)];

#[test]
fn each_datagram_leaves_with_its_own_record() {
    in_sandbox(|sandbox| {
        for place in Place::BOTH {
            let lab = up(sandbox);
            let observer = Observer::attach(&lab, sandbox, place);
            for (version, headers) in HEADERS {
                let socket = lab.udp_server(version);
                send_many(&socket, sink(version));
                observe_many(&observer, headers);
            }
            down(sandbox);
        }
    });
}

#[test]
fn a_process_without_capabilities_labels_its_datagrams_by_the_time_to_send() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        for (version, headers) in HEADERS {
            let socket = lab.udp_server(version);
            in_child(|| {
                // SAFETY: this process has no other thread.
                assert_eq!(unsafe { libc::setuid(65534) }, 0);
                send_many(&socket, sink(version));
            });
            observe_many(&observer, headers);
        }
    });
}

const DATAGRAMS: u64 = 100;

/// More than a socket remembers: the datagram of trace N has N bytes of payload.
fn send_many(socket: &UdpSocket, to: SocketAddr) {
    let sender = MetaSender::new(socket).unwrap();
    let payload = [0; DATAGRAMS as usize];
    let values: Vec<_> = (1..=DATAGRAMS).map(|id| TRACE.with(id)).collect();
    let datagrams: Vec<_> = (1..)
        .zip(&values)
        .map(|(length, values)| Outgoing::new(&payload[..length], to, values))
        .collect();
    let sent = sender.send_batch(&datagrams).unwrap();
    assert_eq!(sent, datagrams.len());
    for datagram in &datagrams {
        sender.send_to(datagram.data, to, datagram.meta).unwrap();
    }
    sender.send_to(&payload[..1], to, &()).unwrap();
}

#[track_caller]
fn observe_many(observer: &Observer, headers: u64) {
    let seen = observer.take();
    let expected = (1..=DATAGRAMS).map(|id| (id, (2, 2 * (headers + id))));
    let unlabelled = [(0, (1, headers + 1))];
    assert!(
        seen.iter()
            .map(|(id, seen)| (*id, *seen))
            .eq(unlabelled.into_iter().chain(expected)),
        "{seen:?}"
    );
}

#[test]
fn a_datagrams_record_goes_before_the_sockets() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        let to = sink(IpVersion::V4);
        let _receiver = lab.hosts.client().run(|| UdpSocket::bind(to)).unwrap();
        let sender = MetaSender::new(lab.udp_server(IpVersion::V4)).unwrap();
        sender.set_packet_meta(&TRACE.with(7)).unwrap();
        sender.send_to(b"x", to, &TRACE.with(8)).unwrap();
        sender.send_to(b"x", to, &()).unwrap();
        sender.get_ref().send_to(b"x", to).unwrap();
        sender.get_ref().connect(to).unwrap();
        sender.send(b"x", &TRACE.with(9)).unwrap();
        assert_eq!(observer.take_packets(), [(7, 2), (8, 1), (9, 1)]);
        sender.clear_packet_meta().unwrap();
        sender.send(b"x", &()).unwrap();
        assert_eq!(observer.take_packets(), [(0, 1)]);
    });
}

#[test]
fn a_ticket_that_is_not_remembered_sends_no_record_whatever_the_socket_says() {
    const TICKET: u32 = abi::TX_TICKET | 5;
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let to = sink(IpVersion::V4);
        let _receiver = lab.hosts.client().run(|| UdpSocket::bind(to)).unwrap();
        for place in Place::BOTH {
            let observer = Observer::attach(&lab, sandbox, place);
            let socket = lab.udp_server(IpVersion::V4);
            socket.set_packet_meta(&TRACE.with(7)).unwrap();
            let remember = |ticket: u32, trace: Option<u64>| {
                let registry = pktmeta::registry(&socket).unwrap();
                let record = trace.map(|trace| TRACE.with(trace).to_record(registry).unwrap());
                let bytes = record.as_ref().map_or(&[][..], |record| record.as_bytes());
                set_at(&socket, abi::SOL_PKTMETA_DGRAM, ticket as i32, bytes).unwrap();
            };
            let sent = |ticket: u32| {
                set_option(&socket, libc::SOL_SOCKET, libc::SO_MARK, ticket as i32);
                socket.send_to(b"x", to).unwrap();
                let seen = observer.take_packets();
                assert_eq!(seen.len(), 1, "{seen:?}");
                seen[0].0
            };
            assert_eq!(sent(TICKET), 0, "no ticket was ever remembered");
            assert_eq!(sent(0), 7);
            remember(TICKET, Some(8));
            assert_eq!(sent(TICKET), 8);
            assert_eq!(sent(TICKET + 1), 0);
            remember(TICKET + abi::TX_SLOTS, Some(9));
            assert_eq!(sent(TICKET), 0, "another has its place");
            remember(TICKET, None);
            assert_eq!(sent(TICKET + abi::TX_SLOTS), 9, "which it keeps");
            remember(TICKET + abi::TX_SLOTS, None);
            assert_eq!(sent(TICKET + abi::TX_SLOTS), 0);
            assert_eq!(sent(abi::TX_TICKET), 0, "a slot that nobody has");
            assert_eq!(sent(0x5100_0005), 7, "another mark is no ticket");
        }
    });
}

#[test]
fn a_real_time_to_be_sent_is_no_ticket() {
    const TICKET: u64 = (abi::TX_TICKET | 5) as u64;
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let to = sink(IpVersion::V4);
        let _receiver = lab.hosts.client().run(|| UdpSocket::bind(to)).unwrap();
        let socket = lab.udp_server(IpVersion::V4);
        socket.set_packet_meta(&TRACE.with(7)).unwrap();
        let registry = pktmeta::registry(&socket).unwrap();
        let record = TRACE.with(8).to_record(registry).unwrap();
        let level = abi::SOL_PKTMETA_DGRAM;
        set_at(&socket, level, TICKET as i32, record.as_bytes()).unwrap();
        // The monotonic clock, and no flags.
        let clock = [libc::CLOCK_MONOTONIC, 0].map(i32::to_ne_bytes).concat();
        set_at(&socket, libc::SOL_SOCKET, libc::SO_TXTIME, &clock).unwrap();
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        // Long past: from a nanosecond that the ticket is, to those that have it in their low
        // words.
        for (time, trace) in [
            (TICKET, 8),
            (1 << 32 | TICKET, 7),
            (1 << 40 | TICKET, 7),
            (TICKET + 0x0100_0000, 7),
            (0, 7),
        ] {
            send_at(&socket, to, time);
            assert_eq!(observer.take_packets(), [(trace, 1)], "{time:#x}");
        }
    });
}

/// Sends a datagram with a time to be sent (`SCM_TXTIME`).
fn send_at(socket: &UdpSocket, to: SocketAddr, time: u64) {
    let length = size_of::<libc::cmsghdr>() + size_of_val(&time);
    let mut control = length.to_ne_bytes().to_vec();
    for number in [libc::SOL_SOCKET, libc::SCM_TXTIME] {
        control.extend(number.to_ne_bytes());
    }
    control.extend(time.to_ne_bytes());
    let to = to.into();
    let buffers = [IoSlice::new(b"x")];
    let message = MsgHdr::new()
        .with_addr(&to)
        .with_buffers(&buffers)
        .with_control(&control);
    assert_eq!(SockRef::from(socket).sendmsg(&message, 0).unwrap(), 1);
}

#[test]
fn a_record_that_was_set_before_connect_is_the_syns_too() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        for (version, trace) in [(IpVersion::V4, 10), (IpVersion::V6, 20)] {
            let listener = listen(lab.hosts.client(), sink(version));
            let to = listener.local_addr().unwrap();
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            socket.as_fd().set_packet_meta(&TRACE.with(trace)).unwrap();
            socket.connect_timeout(&to.into(), LIMIT).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            socket
                .as_fd()
                .set_packet_field(TRACE, &(trace + 1))
                .unwrap();
            (&socket).write_all(b"!").unwrap();
            accepted.read_exact(&mut [0]).unwrap();
        }
        let seen = observer.take_packets();
        // The SYN and the handshake's ACK; what comes after; and nothing without.
        assert!(
            matches!(seen[..], [(10, 2), (11, 1..), (20, 2), (21, 1..)]),
            "{seen:?}"
        );
    });
}

#[test]
fn what_a_listener_says_its_connections_begin_with() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        let listener: TcpListener = lab.listen(IpVersion::V6);
        listener.set_packet_meta(&TRACE.with(7)).unwrap();
        let to = listener.local_addr().unwrap();
        let mut client = lab.connect(to, 1);
        let (mut server, _) = listener.accept().unwrap();
        observer.take();
        server.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert_eq!(observer.take_packets(), [(7, 1)]);
        assert!(server.delete_packet_field(TRACE).unwrap());
        assert!(!server.delete_packet_field(TRACE).unwrap());
        server.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert_eq!(observer.take_packets(), [(0, 1)]);
        assert_eq!(listener.outgoing_meta().unwrap().get(TRACE), Some(7));
    });
}

#[test]
fn what_must_not_be_sent_is_refused_with_the_reason_and_not_sent() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        let socket = lab.udp_server(IpVersion::V4);
        let sender = MetaSender::new(&socket).unwrap();
        let refused = sender.send_to(b"x", sink(IpVersion::V4), &(TRACE.with(1), RULE.with(2)));
        let error = refused.unwrap_err().downcast::<Error>().unwrap();
        assert_not_permitted(&error, "rule".parse().ok());
        for error in [
            socket.set_packet_meta(&RULE.with(2)).unwrap_err(),
            socket.set_packet_field(RULE, &2).unwrap_err(),
            socket.delete_packet_field(RULE).unwrap_err(),
        ] {
            assert_not_permitted(&error, "rule".parse().ok());
        }
        let unknown = Field::<u32>::new("nobody").with(1);
        let error = socket.set_packet_meta(&unknown).unwrap_err();
        let unregistered = RecordError::Unregistered { field: "nobody" };
        assert!(matches!(error, Error::Record(error) if error == unregistered));
        assert_eq!(observer.take_packets(), []);
    });
}

#[test]
fn a_user_who_must_not_send_records_is_told_so() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_for(sandbox, Senders::Users(vec![]));
        let socket = lab.udp_server(IpVersion::V4);
        let error = socket.set_packet_meta(&TRACE.with(1)).unwrap_err();
        assert_not_permitted(&error, None);
    });
}

#[track_caller]
fn assert_not_permitted(error: &Error, wanted: Option<FieldName>) {
    let Error::NotPermitted { field } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*field, wanted);
}

#[test]
fn a_field_that_is_registered_later_can_be_sent_at_once() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let socket = lab.udp_server(IpVersion::V4);
        let late = Field::<u16>::new("late");
        socket.set_packet_meta(&TRACE.with(1)).unwrap();
        assert!(socket.set_packet_field(late, &2).is_err());
        let more = "owner = \"more\"\n[[field]]\nname = \"late\"\ntype = \"u16\"\n\
                    writers = [\"app\"]\n";
        let more = Schema::parse("more.toml", more).unwrap();
        pktmeta_bpf::HostRegistry::new(sandbox.bpffs())
            .register(&[more])
            .unwrap();
        socket.set_packet_field(late, &2).unwrap();
        let meta = socket.outgoing_meta().unwrap();
        assert_eq!((meta.get(TRACE), meta.get(late)), (Some(1), Some(2)));
    });
}

#[test]
fn a_datapath_that_comes_after_is_told_again() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let to = sink(IpVersion::V4);
        let socket = lab.udp_server(IpVersion::V4);
        let sender = MetaSender::new(&socket).unwrap();
        sender.send_to(b"x", to, &TRACE.with(7)).unwrap();
        down(sandbox);
        let gone = sender.send_to(b"x", to, &TRACE.with(7)).unwrap_err();
        assert!(
            gone.to_string().contains("no pktmeta datapath answers"),
            "{gone}"
        );
        let mut options = UpOptions::new(pktmeta_testkit::link::TwoHosts::SERVER_LINK);
        options.cgroup = Some(sandbox.cgroup().into());
        options.schemas = vec![app_schema()];
        let datapath = Datapath::new(sandbox.bpffs());
        lab.hosts.server().run(|| datapath.up(&options)).unwrap();
        let observer = Observer::attach(&lab, sandbox, Place::Interface);
        sender.send_to(b"x", to, &TRACE.with(7)).unwrap();
        assert_eq!(observer.take_packets(), [(7, 1)]);
    });
}

#[test]
fn a_record_that_was_made_for_the_host_is_set_as_it_is() {
    in_sandbox(|sandbox| {
        let lab = up(sandbox);
        let socket = lab.udp_server(IpVersion::V4);
        let values = (TRACE.with(7), KEY.with([1; 64]));
        let registry = pktmeta::registry(&socket).unwrap();
        let record = values.to_record(registry).unwrap();
        socket.set_packet_meta(&record).unwrap();
        let outgoing = socket.outgoing_meta().unwrap();
        assert_eq!(outgoing.record(), Some(&record));
    });
}

/// A lab where everybody may send records.
fn up(sandbox: &Sandbox) -> Lab {
    Lab::up_for(sandbox, Senders::All)
}

/// An address of the client.
fn sink(version: IpVersion) -> SocketAddr {
    client_address(version, 1, 9)
}
