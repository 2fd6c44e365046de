//! The servers and the sender in Rust, beside `echo`.

use super::{Bill, Server, attach, connect, labelled_hosts, send_datagram};
use pktmeta_testkit::sandbox::in_sandbox;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, UdpSocket},
    process::Command,
    time::Duration,
};

#[test]
fn the_rust_sender_names_a_tenant_for_a_connection_and_for_each_datagram() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let bill = Bill::new(sandbox);
        let program = bill.program("bill_interface");
        hosts
            .server()
            .run(|| attach(program, hosts.server_ifindex(), libbpf_sys::BPF_TCX_EGRESS));
        let listener = hosts.client().run(|| TcpListener::bind("192.0.2.1:7000"));
        let listener = listener.unwrap();
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_send"));
        let output = command.arg("192.0.2.1:7000").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut received = String::new();
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_to_string(&mut received).unwrap();
        assert_eq!(received, "of tenant 7");
        // SYN, ACK and data, with their headers and the SYN's options; and more to close it.
        let least = 3 * (14 + 20 + 20) + 11;
        assert!(bill.of(7).unwrap() > least);
        let datagram = 14 + 20 + 8;
        assert_eq!(bill.of(8), Some(datagram + 11));
        assert_eq!(bill.of(9), Some(datagram + 17));
        assert_eq!(bill.of(10), Some(datagram + 17));
    });
}

#[test]
fn the_rust_server_of_requests_knows_the_packet_of_each() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_requests"));
        let mut server = Server::start(command.arg("192.0.2.2:7000"));
        let mut stream = connect(&hosts);
        let syn = server.line();
        assert!(syn.contains(": tenant 7's, of packet "), "{syn}");
        let number =
            |said: &str| -> u64 { said.trim().rsplit_once(' ').unwrap().1.parse().unwrap() };
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut packets = vec![number(&syn)];
        for (requests, count) in [("one\n", 1), ("two\nthree\n", 2), ("four\n", 1)] {
            stream.write_all(requests.as_bytes()).unwrap();
            for _ in 0..count {
                let mut answer = String::new();
                answers.read_line(&mut answer).unwrap();
                assert!(answer.starts_with("tenant 7's, of packet "), "{answer}");
                packets.push(number(&answer));
            }
        }
        let [syn, one, two, three, four] = packets[..] else {
            panic!("{packets:?}")
        };
        assert!(
            syn < one && one < two && two == three && three < four,
            "{packets:?}"
        );
    });
}

#[test]
fn the_rust_web_server_greets_the_tenant_of_the_connection() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_web"));
        let _server = Server::start(command.arg("192.0.2.2:7000"));
        let mut stream = connect(&hosts);
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nhello, tenant 7\n"), "{answer}");
    });
}

#[test]
fn the_asynchronous_rust_server_knows_the_tenant_of_each_datagram() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_datagrams"));
        let mut server = Server::start(command.arg("192.0.2.2:7000"));
        for _ in 0..3 {
            send_datagram(&hosts);
            let said = server.line();
            assert!(said.starts_with("192.0.2.1:"), "{said}");
            assert!(said.ends_with("is of tenant Some(7)\n"), "{said}");
        }
    });
}

#[test]
fn the_rust_server_on_any_address_answers_from_the_one_that_was_asked() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let bill = Bill::new(sandbox);
        bill.attach_to_cgroup(sandbox);
        hosts.server().run(|| add_address("198.51.100.7/32"));
        hosts
            .client()
            .run(|| add_route("198.51.100.7", "192.0.2.2"));
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_answer"));
        let mut server = Server::start(command.arg("0.0.0.0:7000"));
        let client = hosts.client().run(|| UdpSocket::bind("192.0.2.1:0"));
        let client = client.unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.connect("198.51.100.7:7000").unwrap();
        for asked in 1..=3 {
            client.send(b"hello").unwrap();
            assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
            let said = server.line();
            match asked {
                1 => assert!(said.ends_with("is of tenant None\n"), "{said}"),
                _ => assert!(said.ends_with("is of tenant Some(7)\n"), "{said}"),
            }
            assert_eq!(bill.of(7).unwrap_or(0), (asked - 1) * (20 + 8 + 5));
        }
    });
}

#[test]
fn the_rust_quic_server_knows_the_tenant_before_the_handshake() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let certificate = format!("certificate-{}.der", std::process::id());
        let certificate = std::env::temp_dir().join(certificate);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_quic"));
        let mut server = Server::start(command.arg("192.0.2.2:7000").arg(&certificate));
        let trusted = std::fs::read(&certificate).unwrap();
        std::fs::remove_file(&certificate).unwrap();
        let answer = hosts.client().run(|| ask_quic(trusted, b"hello"));
        assert_eq!(answer, b"hello");
        let said = server.line();
        assert!(said.starts_with("192.0.2.1:"), "{said}");
        assert!(said.ends_with("is of tenant 7\n"), "{said}");
    });
}

fn add_address(address: &str) {
    ip(&["address", "add", address, "dev", "lo"]);
}

fn add_route(to: &str, by: &str) {
    ip(&["route", "add", to, "via", by]);
}

fn ip(arguments: &[&str]) {
    assert!(
        Command::new("ip")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

/// What a server that is trusted by its certificate answers on one stream.
fn ask_quic(certificate: Vec<u8>, request: &[u8]) -> Vec<u8> {
    let mut roots = quinn::rustls::RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let config = quinn::ClientConfig::with_root_certificates(roots.into()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = quinn::Endpoint::client("192.0.2.1:0".parse().unwrap()).unwrap();
        let server = "192.0.2.2:7000".parse().unwrap();
        let connecting = endpoint.connect_with(config, server, "localhost");
        let connection = connecting.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(request).await.unwrap();
        send.finish().unwrap();
        receive.read_to_end(request.len()).await.unwrap()
    })
}
