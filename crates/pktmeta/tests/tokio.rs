//! The calls that wait, on loopback and with a mock datapath.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta::{
    Batch, Carrier, Field, Outgoing, Received, SendMeta, TcpMeta,
    mock::{Datapath, Label, PacketKind},
    tokio::{AsyncUdpMeta, MetaSender},
};
use std::{future::Future, io::ErrorKind, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    time,
};

const NUMBER: Field<u32> = Field::new("number");
const TRACE_ID: Field<u64> = Field::new("trace_id");
const LOCALHOST: &str = "127.0.0.1:0";

/// Labels datagrams with the number that is their payload, and connections with 1.
fn datapath() -> Datapath {
    Datapath::new()
        .field(NUMBER)
        .app_field(TRACE_ID)
        .label(|packet| match packet.kind {
            PacketKind::Datagram(data) => {
                let number = u32::from_be_bytes(data.try_into().unwrap());
                Label::of(NUMBER.with(number))
            }
            _ => Label::of(NUMBER.with(1)),
        })
}

async fn udp() -> UdpSocket {
    UdpSocket::bind(LOCALHOST).await.unwrap()
}

/// Fails rather than waits for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(10), future)
        .await
        .expect("within ten seconds")
}

#[tokio::test]
async fn the_traits_of_std_and_of_tokio_are_imported_together() {
    use pktmeta::UdpMeta;
    let blocking = std::net::UdpSocket::bind(LOCALHOST).unwrap();
    let waiting = udp().await;
    let _datapaths = [
        datapath().install_on(&blocking).unwrap(),
        datapath().install_on(&waiting).unwrap(),
    ];
    blocking.enable_packet_meta().unwrap();
    waiting.enable_packet_meta().unwrap();
    let client = udp().await;
    for (to, number) in [(blocking.local_addr(), 7u32), (waiting.local_addr(), 8)] {
        client
            .send_to(&number.to_be_bytes(), to.unwrap())
            .await
            .unwrap();
    }
    let mut buf = [0; 8];
    let received = blocking.recv_from_meta(&mut buf).unwrap();
    assert_eq!(received.meta.unwrap().get(NUMBER), Some(7));
    let received = soon(waiting.recv_from_meta(&mut buf)).await.unwrap();
    assert_eq!(received.meta.unwrap().get(NUMBER), Some(8));
}

#[tokio::test]
async fn a_datagram_is_waited_for() {
    let (server, client) = (Arc::new(udp().await), udp().await);
    let _datapath = datapath().install_on(&*server).unwrap();
    server.enable_packet_meta_in(Carrier::Priority).unwrap();
    let to = server.local_addr().unwrap();
    let receiving = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.recv_from_meta(&mut [0; 8]).await }
    });
    time::sleep(Duration::from_millis(20)).await;
    assert!(!receiving.is_finished());
    client.send_to(&7u32.to_be_bytes(), to).await.unwrap();
    let Received {
        len, from, meta, ..
    } = soon(receiving).await.unwrap().unwrap();
    assert_eq!((len, from), (4, client.local_addr().unwrap()));
    assert_eq!(meta.unwrap().get(NUMBER), Some(7));
}

#[tokio::test]
async fn a_dropped_future_loses_no_datagram() {
    let (server, client) = (udp().await, udp().await);
    let _datapath = datapath().install_on(&server).unwrap();
    server.enable_packet_meta().unwrap();
    let to = server.local_addr().unwrap();
    let mut batch = Batch::new(4, 8);
    for number in 0..200u32 {
        {
            let mut buf = [0; 8];
            let dropped = server.recv_from_meta(&mut buf);
            let timeout = time::timeout(Duration::ZERO, dropped).await;
            assert!(timeout.is_err(), "nothing was sent yet");
        }
        client.send_to(&number.to_be_bytes(), to).await.unwrap();
        // Never polled, then polled when there is something.
        drop(server.recv_batch_meta(&mut batch));
        let meta = match number % 2 {
            0 => soon(server.recv_from_meta(&mut [0; 8])).await.unwrap().meta,
            _ => {
                assert_eq!(soon(server.recv_batch_meta(&mut batch)).await.unwrap(), 1);
                batch.iter().next().unwrap().meta.copied()
            }
        };
        assert_eq!(meta.unwrap().get(NUMBER), Some(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_share_a_socket_get_each_datagram_once() {
    // So many fit the socket's queue.
    const DATAGRAMS: u32 = 100;
    let (server, client) = (Arc::new(udp().await), udp().await);
    let _datapath = datapath().install_on(&*server).unwrap();
    server.enable_packet_meta().unwrap();
    let to = server.local_addr().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                loop {
                    let mut buf = [0; 8];
                    let Received {
                        len: length, meta, ..
                    } = server.recv_from_meta(&mut buf).await.unwrap();
                    let number = u32::from_be_bytes(buf[..length].try_into().unwrap());
                    assert_eq!(meta.unwrap().get(NUMBER), Some(number));
                    if number == u32::MAX {
                        return numbers;
                    }
                    numbers.push(number);
                }
            })
        })
        .collect();
    for number in (0..DATAGRAMS).chain([u32::MAX; 4]) {
        client.send_to(&number.to_be_bytes(), to).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(soon(task).await.unwrap());
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..DATAGRAMS));
}

#[tokio::test]
async fn datagrams_are_sent_with_their_records() {
    let (socket, receiver) = (Arc::new(udp().await), udp().await);
    let datapath = datapath().install_on(&*socket).unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = Arc::new(MetaSender::new(Arc::clone(&socket)).unwrap());
    let sending = tokio::spawn({
        let sender = Arc::clone(&sender);
        async move {
            sender.send_to(b"one", to, &TRACE_ID.with(1)).await?;
            let two = TRACE_ID.with(2);
            let meta: &(dyn pktmeta::ToRecord + Sync) = &two;
            let data = b"two";
            sender.send_batch(&[Outgoing::new(data, to, meta); 3]).await
        }
    });
    assert_eq!(soon(sending).await.unwrap().unwrap(), 3);
    sender.get_ref().connect(to).await.unwrap();
    sender.send(b"five", &TRACE_ID.with(5)).await.unwrap();
    let error = sender.send(b"six", &NUMBER.with(6)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let sent = datapath.take_sent();
    let ids: Vec<_> = sent.iter().map(|sent| sent.meta.get(TRACE_ID)).collect();
    assert_eq!(ids, [1, 2, 2, 2, 5].map(Some));
}

#[tokio::test]
async fn streams_and_their_halves_have_metadata() {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let _datapath = datapath().install_on(&listener).unwrap();
    listener.remember_segments().unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.write_all(b"?").await.unwrap();
    assert_eq!(server.opening_meta().unwrap().get(NUMBER), Some(1));
    let (mut read, write) = server.into_split();
    read.read_exact(&mut [0]).await.unwrap();
    assert_eq!(read.as_ref().packet_meta().unwrap().get(NUMBER), Some(1));
    assert_eq!(read.as_ref().meta_at(0).unwrap().get(NUMBER), Some(1));
    write.as_ref().set_packet_meta(&TRACE_ID.with(7)).unwrap();
    let outgoing = read.as_ref().outgoing_meta().unwrap();
    assert_eq!(outgoing.get(TRACE_ID), Some(7));
}

#[tokio::test]
async fn a_socket_is_given_a_record_before_it_connects() {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    let _datapath = datapath().install_on(&socket).unwrap();
    socket.set_packet_meta(&TRACE_ID.with(7)).unwrap();
    let to = listener.local_addr().unwrap();
    let stream = soon(socket.connect(to)).await.unwrap();
    let outgoing = stream.outgoing_meta().unwrap();
    assert_eq!(outgoing.get(TRACE_ID), Some(7));
}
