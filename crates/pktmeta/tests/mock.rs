//! The whole of the crate but the mapped ring, on loopback and without privileges: the mock
//! answers.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta::{
    Batch, Carrier, Error, Field, MetaSender, Outgoing, Reason, Received, Record, RecordError,
    SendMeta, TcpMeta, ToRecord, UdpMeta,
    mock::{Datapath, Label, PacketKind},
};
use pktmeta_core::abi;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    thread,
    time::Duration,
};

const TENANT: Field<u32> = Field::new("tenant");
const TRACE_ID: Field<u64> = Field::new("trace_id");
const NOTE: Field<[u8; 64]> = Field::new("note");
const LOCALHOST: &str = "127.0.0.1:0";

fn udp() -> UdpSocket {
    UdpSocket::bind(LOCALHOST).unwrap()
}

/// Labels datagrams with the number in their first byte; 0 has no record, 255 is lost.
fn by_payload() -> Datapath {
    Datapath::new()
        .field(TENANT)
        .app_field(TRACE_ID)
        .label(|packet| match packet.kind {
            PacketKind::Datagram([0, ..]) => Label::Absent,
            PacketKind::Datagram([255, ..]) => Label::Lost,
            PacketKind::Datagram([tenant, ..]) => Label::of(TENANT.with((*tenant).into())),
            _ => panic!("{packet:?}"),
        })
}

#[test]
fn each_datagram_has_its_own_record() {
    for carrier in [Carrier::Mark, Carrier::Priority, Carrier::Timestamp] {
        let (server, client) = (udp(), udp());
        let to = server.local_addr().unwrap();
        let _datapath = by_payload().install_on(&server).unwrap();
        client.send_to(&[1], to).unwrap();
        let early = server.recv_from_meta(&mut [0; 8]).unwrap().meta;
        assert!(early.unwrap_err().is_unavailable(Reason::NotEnabled));
        server.enable_packet_meta_in(carrier).unwrap();
        for payload in [7, 0, 255, 8] {
            client.send_to(&[payload], to).unwrap();
            let Received { from, meta, .. } = server.recv_from_meta(&mut [0; 8]).unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            match payload {
                0 => assert!(meta.unwrap().is_absent()),
                255 => assert!(matches!(meta, Err(Error::Overrun))),
                _ => assert_eq!(meta.unwrap().get(TENANT), Some(payload.into())),
            }
        }
        for payload in 1..=5 {
            client.send_to(&[payload], to).unwrap();
        }
        let mut batch = Batch::new(8, 8);
        assert_eq!(server.recv_batch_meta(&mut batch).unwrap(), 5);
        for (datagram, tenant) in batch.iter().zip(1..) {
            assert_eq!(datagram.meta.unwrap().get(TENANT), Some(tenant));
        }
    }
}

/// The connection's two ends: the listener's, and the other.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

#[test]
fn a_connection_has_the_records_of_its_segments() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let _datapath = Datapath::new()
        .field(TENANT)
        .label(|packet| match packet.kind {
            PacketKind::Opening => Label::of(TENANT.with(1)),
            PacketKind::Latest => Label::of(TENANT.with(2)),
            PacketKind::Byte(0) => Label::of(TENANT.with(3)),
            PacketKind::Byte(10) => Label::Absent,
            PacketKind::Byte(20) => Label::Lost,
            _ => Label::NotArrived,
        })
        .install_on(&listener)
        .unwrap();
    let (before, _client) = connection(&listener);
    assert_eq!(before.opening_meta().unwrap().get(TENANT), Some(1));
    assert_eq!(before.packet_meta().unwrap().get(TENANT), Some(2));
    assert!(matches!(before.meta_at(0), Err(Error::Forgotten)));

    listener.remember_segments().unwrap();
    let (server, _client) = connection(&listener);
    assert_eq!(server.meta_at(0).unwrap().get(TENANT), Some(3));
    assert!(server.meta_at(10).unwrap().is_absent());
    assert!(matches!(server.meta_at(20), Err(Error::Forgotten)));
    assert!(matches!(server.meta_at(30), Err(Error::NotArrived)));
    // The kernel compares the low 32 bits.
    assert!(server.meta_at((1 << 32) + 10).unwrap().is_absent());
}

#[test]
fn calls_for_the_other_kind_of_socket_say_so() {
    let listener = TcpListener::bind(LOCALHOST).unwrap();
    let socket = udp();
    let _tcp = Datapath::new().install_on(&listener).unwrap();
    let _udp = Datapath::new().install_on(&socket).unwrap();
    for result in [
        listener.as_fd().enable_packet_meta(),
        socket.as_fd().remember_segments(),
        socket.as_fd().packet_meta().map(drop),
        socket.as_fd().meta_at(0).map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(error.is_unavailable(Reason::WrongSocket), "{error:?}");
    }
}

#[test]
fn a_socket_keeps_the_record_of_what_it_sends() {
    let socket = udp();
    let _datapath = Datapath::new()
        .field(TENANT)
        .app_field(TRACE_ID)
        .app_field(NOTE)
        .install_on(&socket)
        .unwrap();
    let trace = || socket.outgoing_meta().unwrap().get(TRACE_ID);
    assert!(socket.outgoing_meta().unwrap().is_absent());
    socket
        .set_packet_meta(&(TRACE_ID.with(7), NOTE.with([1; 64])))
        .unwrap();
    assert_eq!(trace(), Some(7));
    socket.set_packet_field(TRACE_ID, &8).unwrap();
    assert_eq!(trace(), Some(8));
    assert!(socket.delete_packet_field(TRACE_ID).unwrap());
    assert!(!socket.delete_packet_field(TRACE_ID).unwrap());
    assert_eq!(trace(), None);
    assert_eq!(socket.outgoing_meta().unwrap().get(NOTE), Some([1; 64]));
    socket.set_packet_meta(&TRACE_ID.with(9)).unwrap();
    assert_eq!(socket.outgoing_meta().unwrap().get(NOTE), None);
    socket.clear_packet_meta().unwrap();
    assert!(socket.outgoing_meta().unwrap().is_absent());
}

#[test]
fn what_must_not_be_sent_is_refused_with_the_fields_name() {
    let socket = udp();
    let _datapath = Datapath::new()
        .field(TENANT)
        .app_field(TRACE_ID)
        .install_on(&socket)
        .unwrap();
    socket.set_packet_meta(&TRACE_ID.with(7)).unwrap();
    let refused = [
        socket.set_packet_meta(&(TRACE_ID.with(8), TENANT.with(7))),
        socket.set_packet_field(TENANT, &7),
        socket.delete_packet_field(TENANT).map(drop),
    ];
    for result in refused {
        let error = result.unwrap_err();
        let Error::NotPermitted { field } = error else {
            panic!("{error:?}");
        };
        assert_eq!(field, "tenant".parse().ok());
    }
    let unknown = socket.set_packet_meta(&NOTE.with([0; 64])).unwrap_err();
    let unregistered = RecordError::Unregistered { field: "note" };
    assert!(matches!(unknown, Error::Record(error) if error == unregistered));
    let sender = MetaSender::new(&socket).unwrap();
    let to = udp().local_addr().unwrap();
    let error = sender.send_to(b"x", to, &TENANT.with(7)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("tenant"), "{error}");
    let kept = socket.outgoing_meta().unwrap();
    assert_eq!(kept.get(TRACE_ID), Some(7), "nothing is changed");
}

#[test]
fn a_value_that_its_field_cannot_have_is_refused_and_changes_nothing() {
    const VIP: Field<bool> = Field::new("vip");
    let socket = udp();
    let _datapath = Datapath::new()
        .app_field(VIP)
        .app_field(TRACE_ID)
        .install_on(&socket)
        .unwrap();
    socket.set_packet_meta(&TRACE_ID.with(7)).unwrap();
    let odd = Record::parse(b"PM\x10\x07\x01\x01\x02").unwrap(); // a bool of 2
    socket.set_packet_meta(&odd).unwrap_err();
    let meta = socket.outgoing_meta().unwrap();
    assert_eq!((meta.get(TRACE_ID), meta.get(VIP)), (Some(7), None));
    socket.set_packet_meta(&VIP.with(true)).unwrap();
    assert_eq!(socket.outgoing_meta().unwrap().get(VIP), Some(true));
}

#[test]
fn each_datagram_is_sent_with_its_own_record() {
    let (socket, receiver) = (udp(), udp());
    let datapath = by_payload().install_on(&socket).unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = MetaSender::new(&socket).unwrap();
    socket.set_packet_meta(&TRACE_ID.with(1000)).unwrap();
    sender.send_to(b"own", to, &TRACE_ID.with(1)).unwrap();
    sender.send_to(b"the socket's", to, &()).unwrap();
    // More than a socket remembers.
    let values: Vec<_> = (0..100).map(|id| TRACE_ID.with(id)).collect();
    let datagrams: Vec<_> = values
        .iter()
        .map(|values| Outgoing::new(b"one of many", to, &()).with(values))
        .collect();
    assert_eq!(sender.send_batch(&datagrams).unwrap(), 100);
    socket.connect(to).unwrap();
    sender.send(b"connected", &TRACE_ID.with(2)).unwrap();

    let sent = datapath.take_sent();
    let ids = sent.iter().map(|sent| sent.meta.get(TRACE_ID).unwrap());
    assert!(ids.eq([1, 1000].into_iter().chain(0..100).chain([2])));
    assert!(sent.iter().all(|sent| sent.to == to));
    receiver.set_nonblocking(true).unwrap();
    let mut arrived = 0;
    while receiver.recv(&mut [0; 32]).is_ok() {
        arrived += 1;
    }
    assert_eq!(arrived, sent.len());
}

#[test]
fn a_server_on_any_address_answers_from_the_one_that_was_asked() {
    for (any, asked) in [
        ("0.0.0.0:0", "127.0.0.2"),
        ("[::]:0", "::1"),
        ("[::]:0", "127.0.0.2"),
    ] {
        let server = UdpSocket::bind(any).unwrap();
        let _datapath = by_payload().install_on(&server).unwrap();
        server.enable_arrival().unwrap();
        server.enable_packet_meta().unwrap();
        let loopback = if asked == "::1" { "::1" } else { "127.0.0.1" };
        let client = UdpSocket::bind((loopback, 0)).unwrap();
        // Answers from elsewhere do not reach it.
        client
            .connect((asked, server.local_addr().unwrap().port()))
            .unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.send(&[7]).unwrap();
        let mut question = [0; 8];
        let received = server.recv_from_meta(&mut question).unwrap();
        assert_eq!(received.meta.unwrap().get(TENANT), Some(7));
        let sender = MetaSender::new(&server).unwrap();
        let label = TRACE_ID.with(1);
        let answer = Outgoing::new(b"answer", received.from, &label);
        let answer = answer.from(received.arrival.local);
        assert_eq!(sender.send_batch(&[answer]).unwrap(), 1);
        assert_eq!(client.recv(&mut question).unwrap(), 6);
    }
}

#[test]
fn a_batch_ends_before_what_cannot_be_sent() {
    let (socket, receiver) = (udp(), udp());
    let datapath = by_payload().install_on(&socket).unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = MetaSender::new(&socket).unwrap();
    let (good, bad) = (TRACE_ID.with(7), TENANT.with(7));
    let batch = [&good as &(dyn ToRecord + Sync), &good, &bad, &good]
        .map(|meta| Outgoing::new(b"x", to, meta));
    assert_eq!(sender.send_batch(&batch).unwrap(), 2);
    let error = sender.send_batch(&batch[2..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(datapath.take_sent().len(), 2);
    assert_eq!(sender.send_batch(&[]).unwrap(), 0);
}

#[test]
fn mocks_at_the_same_time_do_not_mix() {
    thread::scope(|scope| {
        for number in 0..8u32 {
            scope.spawn(move || {
                let server = udp();
                let mut datapath = Datapath::new();
                // So that the same field has another number in each.
                let others = ["a", "b", "c", "d", "e", "f", "g", "h"];
                for other in &others[..number as usize] {
                    datapath = datapath.field(Field::<u32>::new(other));
                }
                let _datapath = datapath
                    .field(TENANT)
                    .label(move |_| Label::of(TENANT.with(number)))
                    .install_on(&server)
                    .unwrap();
                server.enable_packet_meta().unwrap();
                let client = udp();
                for _ in 0..200 {
                    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
                    let meta = server.recv_from_meta(&mut [0; 8]).unwrap().meta;
                    assert_eq!(meta.unwrap().get(TENANT), Some(number));
                }
            });
        }
    });
}

#[test]
fn a_mock_for_the_process_serves_sockets_that_a_server_makes_itself() {
    fn echo() -> io::Result<(SocketAddr, thread::JoinHandle<Option<u32>>)> {
        let listener = TcpListener::bind(LOCALHOST)?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.opening_meta().unwrap().get(TENANT)
        });
        Ok((address, server))
    }
    for tenant in 1..=2 {
        let datapath = Datapath::new()
            .field(TENANT)
            .label(move |_| Label::of(TENANT.with(tenant)));
        let _datapath = datapath.install();
        let (address, server) = echo().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"?").unwrap();
        assert_eq!(server.join().unwrap(), Some(tenant));
    }
}

#[test]
fn a_second_mock_for_the_process_waits_for_the_end_of_the_first() {
    let socket = udp();
    let _of_one_socket = by_payload().install_on(&socket).unwrap();
    let first = Datapath::new().field(TENANT).install();
    let second = thread::spawn(|| drop(Datapath::new().field(TENANT).install()));
    thread::sleep(Duration::from_millis(50));
    assert!(!second.is_finished());
    drop(first);
    second.join().unwrap();
}

#[test]
fn a_mock_says_that_it_has_all_but_a_ring() {
    let socket = udp();
    let _datapath = by_payload().install_on(&socket).unwrap();
    let info = pktmeta::info(&socket).unwrap();
    let features = [
        abi::FEATURE_RX_TCP,
        abi::FEATURE_RX_UDP,
        abi::FEATURE_HISTORY,
        abi::FEATURE_TX,
    ];
    assert_eq!(info.features, features.iter().sum());
    assert_eq!(info.slots, 0);
}

#[test]
fn a_mock_that_was_dropped_answers_no_more() {
    let socket = udp();
    let datapath = by_payload().install_on(&socket).unwrap();
    let mock = pktmeta::info(&socket).unwrap();
    let registry = pktmeta::registry(&socket).unwrap();
    let record: Record = TENANT.with(7).to_record(registry).unwrap();
    assert_eq!(registry.get(&record, TENANT), Some(7));
    drop(datapath);
    let after = pktmeta::info(&socket).ok();
    assert_ne!(after.map(|info| info.instance), Some(mock.instance));
}
