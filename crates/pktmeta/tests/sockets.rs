//! Real sockets, without privileges. What needs a datapath is tested where there is one: in
//! `pktmeta-testkit` and the examples.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta::{Arrival, Batch, Ecn, Error, Field, MetaSender, Reason, Received, TcpMeta, UdpMeta};
use std::{
    io::{ErrorKind, IoSliceMut, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
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
            let remedy = error.remedy().unwrap();
            assert!(remedy.contains("pktmeta up"), "{remedy}");
        }
        let info = pktmeta::info(&server).unwrap_err();
        assert!(info.is_unavailable(Reason::NoDatapath), "{info:?}");
    }
}

#[test]
fn a_socket_of_multipath_tcp_says_what_it_is() {
    // SAFETY: These are numbers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: The kernel just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let error = socket.remember_segments().unwrap_err();
    assert!(error.is_unavailable(Reason::MultipathTcp), "{error:?}");
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
        let Received {
            len: length,
            from,
            meta,
            ..
        } = receiver.recv_from_meta(&mut buf).unwrap();
        assert_eq!(&buf[..length], b"hello");
        assert_eq!(from, sender.local_addr().unwrap());
        let error = meta.unwrap_err();
        assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
    }
}

#[test]
fn without_a_datapath_only_datagrams_of_which_nothing_is_said_are_sent() {
    if !alone() {
        return;
    }
    const TENANT: Field<u32> = Field::new("tenant");
    for (receiver, sender) in udp_pairs() {
        let to = receiver.local_addr().unwrap();
        let sender = MetaSender::new(sender).unwrap();
        let error = sender
            .send_to(b"labelled", to, &TENANT.with(7))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        sender.send_to(b"plain", to, &()).unwrap();
        let mut buffer = [0; 16];
        let received = receiver.recv_from_meta(&mut buffer).unwrap();
        assert_eq!(buffer[..received.len], *b"plain");
    }
}

#[test]
fn a_longer_datagram_is_cut_as_std_does() {
    for (receiver, sender) in udp_pairs() {
        let to = receiver.local_addr().unwrap();
        sender.send_to(b"hello", to).unwrap();
        sender.send_to(b"again", to).unwrap();
        let mut buf = [0; 2];
        let received = receiver.recv_from_meta(&mut buf).unwrap();
        assert_eq!((received.len, &buf), (2, b"he"));
        assert!(received.truncated);
        let received = receiver.recv_from_meta(&mut []).unwrap();
        assert_eq!(received.len, 0);
        assert!(received.truncated);
        assert_eq!(received.datagrams(&[]).count(), 1);
    }
}

#[test]
fn a_datagram_says_to_which_address_and_how_it_came() {
    for (any, to) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
        let receiver = UdpSocket::bind(any).unwrap();
        let sender = UdpSocket::bind((to, 0)).unwrap();
        let port = receiver.local_addr().unwrap().port();
        sender.send_to(b"early", (to, port)).unwrap();
        let early = receiver.recv_from_meta(&mut [0; 8]).unwrap();
        assert_eq!(early.arrival, Arrival::default(), "nobody asked");

        receiver.enable_arrival().unwrap();
        set_class(&sender, 0xb8 | Ecn::Ect0 as i32);
        sender.send_to(b"one", (to, port)).unwrap();
        sender.send_to(b"two", (to, port)).unwrap();
        let mut batch = Batch::new(1, 8);
        let one = receiver.recv_from_meta(&mut [0; 8]).unwrap();
        receiver.recv_batch_meta(&mut batch).unwrap();
        let two = batch.iter().next().unwrap();
        assert_eq!(one.arrival, two.arrival);
        let address: IpAddr = to.parse().unwrap();
        let Arrival {
            to,
            local,
            interface,
            ecn,
            ..
        } = one.arrival;
        assert_eq!((to, local), (Some(address), Some(address)));
        // SAFETY: The name ends with a NUL.
        let loopback = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        assert_eq!(interface, Some(loopback));
        assert_eq!(ecn, Some(Ecn::Ect0));
    }
}

#[test]
fn a_socket_of_ipv6_says_how_datagrams_of_ipv4_came() {
    let receiver = UdpSocket::bind("[::]:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.enable_arrival().unwrap();
    set_class(&sender, Ecn::Ce as i32);
    let port = receiver.local_addr().unwrap().port();
    sender.send_to(b"hello", ("127.0.0.1", port)).unwrap();
    let received = receiver.recv_from_meta(&mut [0; 8]).unwrap();
    let mapped = Some("::ffff:127.0.0.1".parse().unwrap());
    assert_eq!(received.arrival.local, mapped);
    assert_eq!(received.arrival.ecn, Some(Ecn::Ce));
}

#[test]
fn what_the_kernel_merged_is_split() {
    for (receiver, sender) in udp_pairs() {
        receiver.enable_gro().unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        // As a peer that sends with UDP_SEGMENT: over loopback nothing splits it.
        set_option(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, 3);
        let mut buffer = [0; 1 << 16];
        sender.send(b"onetwothreeend4").unwrap();
        let received = receiver.recv_from_meta(&mut buffer).unwrap();
        assert_eq!((received.len, received.segment), (15, 3));
        let datagrams: Vec<_> = received.datagrams(&buffer).collect();
        assert_eq!(datagrams, [b"one", b"two", b"thr", b"eee", b"nd4"]);

        let mut batch = Batch::new(3, 10);
        for sent in [&b"onetwoen"[..], b"alone"[..3].as_ref(), b"onetwothreeend4"] {
            sender.send(sent).unwrap();
        }
        assert_eq!(receiver.recv_batch_meta(&mut batch).unwrap(), 8);
        let datagrams: Vec<_> = batch.iter().map(|datagram| datagram.data).collect();
        let expected: [&[u8]; 8] = [b"one", b"two", b"en", b"alo", b"one", b"two", b"thr", b"e"];
        assert_eq!(datagrams, expected);
        // The batch had room for ten of the last fifteen bytes.
        let truncated: Vec<_> = batch.iter().map(|datagram| datagram.truncated).collect();
        assert_eq!(
            truncated,
            [false, false, false, false, false, false, false, true]
        );
        let mut datagrams = batch.iter();
        for left in (0..8).rev() {
            datagrams.next().unwrap();
            assert_eq!(datagrams.len(), left);
        }
        assert!(datagrams.next().is_none());
    }
}

/// Sets the type of service, or traffic class, of what a socket sends.
fn set_class(socket: &UdpSocket, class: i32) {
    match socket.local_addr().unwrap() {
        SocketAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_TOS, class),
        SocketAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class),
    }
}

fn set_option(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: The kernel reads as many bytes of the value as it has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
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
            assert_eq!((batch.iter().len(), batch.is_empty()), (4, false));
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
fn datagrams_are_received_into_the_callers_own_buffers() {
    for (receiver, sender) in udp_pairs() {
        let to = receiver.local_addr().unwrap();
        for payload in [&b"one"[..], b"longer than eight", b"late"] {
            sender.send_to(payload, to).unwrap();
        }
        let mut bytes = [[0; 8]; 2];
        let mut receive = |room: usize| {
            let mut seen = Vec::new();
            let [first, second] = &mut bytes;
            let mut buffers = [IoSliceMut::new(first), IoSliceMut::new(second)];
            let mut each = |at, data: &[u8], it: Received| {
                assert_eq!(
                    (it.len, it.from),
                    (data.len(), sender.local_addr().unwrap())
                );
                let error = it.meta.unwrap_err();
                assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
                seen.push((at, data.to_vec(), it.truncated));
            };
            let used = receiver.recv_into_meta(&mut buffers[..room], &mut each);
            (used.unwrap(), seen)
        };
        assert_eq!(receive(0), (0, vec![]));
        let two = vec![(0, b"one".to_vec(), false), (1, b"longer t".to_vec(), true)];
        assert_eq!(receive(2), (2, two));
        assert_eq!(receive(2), (1, vec![(0, b"late".to_vec(), false)]));
        assert_eq!(&bytes[0][..4], b"late");
    }
}

#[test]
fn a_message_without_an_ip_sender_uses_a_buffer_and_is_no_datagram() {
    let (receiver, sender) = UnixDatagram::pair().unwrap();
    sender.send(b"x").unwrap();
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut each = |_, _: &[u8], it: Received| panic!("{it:?}");
    let used = receiver.as_fd().recv_into_meta(&mut buffers, &mut each);
    assert_eq!(used.unwrap(), 1);
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
    let error = unix.as_fd().recv_from_meta(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    peer.send(b"hello").unwrap();
    let mut batch = Batch::new(2, 8);
    let error = unix.as_fd().recv_batch_meta(&mut batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(batch.is_empty());
    assert!(matches!(
        unix.as_fd().packet_meta(),
        Err(Error::Unavailable(_))
    ));
}

#[test]
fn what_is_not_a_socket_is_an_io_error() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let file = file.as_fd();
    assert!(matches!(file.packet_meta(), Err(Error::Io { .. })));
    assert!(matches!(file.enable_packet_meta(), Err(Error::Io { .. })));
    assert!(file.recv_from_meta(&mut [0; 8]).is_err());
}
