use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pktmeta_testkit::link::{IpVersion, Link, TwoHosts, VethPair};
use pktmeta_testkit::netns::Netns;
use pktmeta_testkit::traffic::{TcpClient, UdpSender};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(2));

#[test]
fn the_very_first_datagram_arrives_and_is_answered() {
    for version in IpVersion::BOTH {
        let hosts = TwoHosts::new().unwrap();
        let server = hosts
            .server()
            .run(|| UdpSocket::bind((hosts.server_ip(version), 53)))
            .unwrap();
        let client = hosts
            .client()
            .run(|| UdpSocket::bind((hosts.client_ip(version), 0)))
            .unwrap();
        server.set_read_timeout(PATIENCE).unwrap();
        client.set_read_timeout(PATIENCE).unwrap();

        client
            .send_to(b"ping", (hosts.server_ip(version), 53))
            .unwrap();
        let mut buffer = [0; 16];
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..len], from),
            (&b"ping"[..], client.local_addr().unwrap())
        );
        server.send_to(b"pong", from).unwrap();
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"pong");
    }
}

#[test]
fn tcp_works_at_once() {
    for version in IpVersion::BOTH {
        let hosts = TwoHosts::new().unwrap();
        let address = SocketAddr::new(hosts.server_ip(version), 80);
        let listener = hosts.server().run(|| TcpListener::bind(address)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10 {
                    let (mut stream, peer) = listener.accept().unwrap();
                    assert_eq!(peer.ip(), hosts.client_ip(version));
                    let mut question = Vec::new();
                    stream.read_to_end(&mut question).unwrap();
                    question.reverse();
                    stream.write_all(&question).unwrap();
                }
            });
            let client = TcpClient::new(address).connections(10).parallel(2);
            let report = hosts
                .client()
                .run(|| client.run(|n| vec![n as u8, 99]))
                .unwrap();
            assert_eq!(
                report.answers,
                (0..10).map(|n| vec![99, n]).collect::<Vec<_>>()
            );
        });
    }
}

#[test]
fn a_stream_of_datagrams_crosses_the_wire_without_loss() {
    let hosts = TwoHosts::new().unwrap();
    let address = SocketAddr::new(hosts.server_ip(IpVersion::V4), 53);
    let server = hosts.server().run(|| UdpSocket::bind(address)).unwrap();
    server.set_read_timeout(PATIENCE).unwrap();
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for expected in 0..20_000_u64 {
                let mut payload = [0; 64];
                assert_eq!(server.recv(&mut payload).unwrap(), 64);
                assert_eq!(payload[..8], expected.to_be_bytes());
                received.fetch_add(1, Ordering::Release);
            }
        });
        let sender = UdpSender::new(address)
            .count(20_000)
            .payload_len(64)
            .in_flight(64, &received);
        let fill = |seq: u64, payload: &mut [u8]| payload[..8].copy_from_slice(&seq.to_be_bytes());
        let report = hosts.client().run(|| sender.run(fill)).unwrap();
        assert_eq!(report.sent, 20_000);
    });
}

#[test]
fn device_indexes_belong_to_their_namespaces() {
    let hosts = TwoHosts::new().unwrap();
    let client = Link::find(hosts.client(), TwoHosts::CLIENT_LINK).unwrap();
    let server = Link::find(hosts.server(), TwoHosts::SERVER_LINK).unwrap();
    assert_eq!(client.ifindex(), hosts.client_ifindex());
    assert_eq!(server.ifindex(), hosts.server_ifindex());
    assert_ne!(client.mac(), server.mac());
    let lost = Link::find(hosts.client(), TwoHosts::SERVER_LINK).unwrap_err();
    assert_eq!(lost.raw_os_error(), Some(libc::ENODEV));
}

#[test]
fn the_mtu_bounds_a_datagram() {
    let hosts = TwoHosts::new().unwrap();
    hosts.client_link().set_mtu(1280).unwrap();
    let send = |len: usize| {
        hosts.client().run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let mode = libc::IP_PMTUDISC_DO;
            // SAFETY: the option value is an int and its length that of an int.
            let set = unsafe {
                use std::os::fd::AsRawFd;
                let value = (&raw const mode).cast();
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::IPPROTO_IP,
                    libc::IP_MTU_DISCOVER,
                    value,
                    4,
                )
            };
            assert_eq!(set, 0);
            socket.send_to(&vec![0; len], (TwoHosts::SERVER_V4, 9))
        })
    };
    assert_eq!(send(1280 - 28).unwrap(), 1252);
    assert_eq!(
        send(1280 - 27).unwrap_err().raw_os_error(),
        Some(libc::EMSGSIZE)
    );
}

#[test]
fn a_wire_with_one_end_down_is_reported_with_what_is_missing() {
    let (left, right) = (Netns::new().unwrap(), Netns::new().unwrap());
    let pair = VethPair::new(&left, "veth0", &right, "veth0").unwrap();
    pair.a().set_up().unwrap();
    let error = pair
        .wait_until_ready(Duration::from_millis(50))
        .unwrap_err();
    assert!(error.to_string().contains("no carrier"), "{error}");
    let taken = VethPair::new(&left, "veth0", &right, "other").unwrap_err();
    assert_eq!(taken.raw_os_error(), Some(libc::EEXIST));
}
