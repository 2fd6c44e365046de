//! Real sockets, without privileges. What needs a datapath is tested where there is one: in
//! `pktmeta-testkit` and the examples.

use pktmeta::{Batch, Error, Reason, TcpMeta, UdpMeta};
use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    time::Duration,
};

const HOSTS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// A socket on each loopback address that this host has.
fn bound<S>(bind: impl Fn(&str) -> std::io::Result<S>) -> Vec<S> {
    HOSTS
        .iter()
        .filter_map(|host| match bind(host) {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                println!("skipped {host}: {error}");
                None
            }
            Err(error) => panic!("{host}: {error}"),
        })
        .collect()
}

fn udp_pairs() -> impl Iterator<Item = (UdpSocket, UdpSocket)> {
    bound(|host| {
        let receiver = UdpSocket::bind(host)?;
        receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok((receiver, UdpSocket::bind(host)?))
    })
    .into_iter()
}

/// False, and says so, if this process is in the cgroup of a datapath.
fn alone() -> bool {
    let alone = UdpSocket::bind(HOSTS[0]).is_ok_and(|socket| pktmeta::info(&socket).is_err());
    if !alone {
        println!("skipped: a datapath answers here (`pktmeta down` first)");
    }
    alone
}

#[test]
fn tcp_without_a_datapath_is_unavailable() {
    if !alone() {
        return;
    }
    for listener in bound(|host| TcpListener::bind(host)) {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        for result in [
            server.packet_meta(),
            server.opening_meta(),
            client.opening_meta(),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_unavailable(Reason::NoDatapath), "{error:?}");
            assert!(error.to_string().contains("pktmeta up"), "{error}");
        }
        let info = pktmeta::info(&server).unwrap_err();
        assert!(info.is_unavailable(Reason::NoDatapath), "{info:?}");
    }
}

#[test]
fn udp_without_a_datapath_is_unavailable_but_delivers() {
    if !alone() {
        return;
    }
    for (receiver, sender) in udp_pairs() {
        let error = receiver.enable_packet_meta().unwrap_err();
        assert!(error.is_unavailable(Reason::NoDatapath), "{error:?}");
        sender
            .send_to(b"hello", receiver.local_addr().unwrap())
            .unwrap();
        let mut buf = [0; 16];
        let (length, from, meta) = receiver.recv_from_meta(&mut buf).unwrap();
        assert_eq!(&buf[..length], b"hello");
        assert_eq!(from, sender.local_addr().unwrap());
        let error = meta.unwrap_err();
        assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
    }
}

#[test]
fn a_longer_datagram_is_cut_as_std_does() {
    for (receiver, sender) in udp_pairs() {
        let to = receiver.local_addr().unwrap();
        sender.send_to(b"hello", to).unwrap();
        sender.send_to(b"again", to).unwrap();
        let mut buf = [0; 2];
        let (length, ..) = receiver.recv_from_meta(&mut buf).unwrap();
        assert_eq!((length, &buf), (2, b"he"));
        let (length, ..) = receiver.recv_from_meta(&mut []).unwrap();
        assert_eq!(length, 0);
    }
}

#[test]
fn a_batch_has_each_datagram_and_its_sender() {
    for (receiver, first) in udp_pairs() {
        let to = receiver.local_addr().unwrap();
        let second = UdpSocket::bind((to.ip(), 0)).unwrap();
        let mut batch = Batch::new(4, 8);
        assert!(batch.is_empty());
        // Twice: a batch is used again.
        for _ in 0..2 {
            let sent: [(&UdpSocket, &[u8]); 5] = [
                (&first, b"one"),
                (&second, b"longer than eight"),
                (&first, b""),
                (&second, b"exactly8"),
                (&first, b"late"),
            ];
            for (socket, payload) in sent {
                socket.send_to(payload, to).unwrap();
            }
            assert_eq!(receiver.recv_batch_meta(&mut batch).unwrap(), 4);
            assert_eq!(batch.iter().len(), 4);
            for (datagram, (socket, payload)) in batch.iter().zip(sent) {
                assert_eq!(datagram.data, &payload[..payload.len().min(8)]);
                assert_eq!(datagram.truncated, payload.len() > 8);
                assert_eq!(datagram.from, socket.local_addr().unwrap());
                let error = datagram.meta.unwrap_err();
                assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
            }
            assert_eq!(receiver.recv_batch_meta(&mut batch).unwrap(), 1);
            assert_eq!(batch.iter().next().unwrap().data, b"late");
        }
        receiver.set_nonblocking(true).unwrap();
        let error = receiver.recv_batch_meta(&mut batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(batch.is_empty());
        let error = receiver.recv_from_meta(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn batches_without_room_are_harmless() {
    let (receiver, sender) = udp_pairs().next().unwrap();
    assert_eq!(receiver.recv_batch_meta(&mut Batch::new(0, 8)).unwrap(), 0);
    sender
        .send_to(b"hello", receiver.local_addr().unwrap())
        .unwrap();
    let mut batch = Batch::new(2, 0);
    assert_eq!(receiver.recv_batch_meta(&mut batch).unwrap(), 1);
    let datagram = batch.iter().next().unwrap();
    assert!(datagram.data.is_empty() && datagram.truncated);
}

#[test]
fn a_batch_goes_where_its_task_goes() {
    fn sent<T: Send + Sync + 'static>(_: &T) {}
    sent(&Batch::new(1, 1));
}

#[test]
fn sockets_without_ip_senders_are_refused() {
    let (unix, peer) = UnixDatagram::pair().unwrap();
    peer.send(b"hello").unwrap();
    let error = unix.recv_from_meta(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    peer.send(b"hello").unwrap();
    let mut batch = Batch::new(2, 8);
    let error = unix.recv_batch_meta(&mut batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(batch.is_empty());
    assert!(matches!(unix.packet_meta(), Err(Error::Unavailable(_))));
}

#[test]
fn what_is_not_a_socket_is_an_io_error() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(file.packet_meta(), Err(Error::Io { .. })));
    assert!(matches!(file.enable_packet_meta(), Err(Error::Io { .. })));
    assert!(file.recv_from_meta(&mut [0; 8]).is_err());
}
