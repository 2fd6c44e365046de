//! A QUIC server and its clients, on loopback and with a mock datapath.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta::{
    Field, Reason, UdpMeta,
    mock::{Datapath, Label, PacketKind},
};
use pktmeta_quinn::MetaSocket;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
    rustls::{RootCertStore, pki_types::PrivatePkcs8KeyDer},
};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::time;

const PORT: Field<u16> = Field::new("port");
const LONG: Field<bool> = Field::new("long");

/// A server's configuration, and that of clients who trust it.
fn configs() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    (server, client)
}

/// Labels datagrams with the sender's port, and whether they begin with a long header.
fn datapath() -> Datapath {
    Datapath::new().field(PORT).field(LONG).label(|packet| {
        let PacketKind::Datagram(data) = packet.kind else {
            panic!("{packet:?}");
        };
        let long = data[0] & 0x80 != 0;
        Label::of((PORT.with(packet.from.port()), LONG.with(long)))
    })
}

fn serve(socket: UdpSocket, peers: usize, config: ServerConfig) -> (Endpoint, Arc<MetaSocket>) {
    let socket = MetaSocket::new(socket, peers).unwrap();
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        Some(config),
        Arc::clone(&socket) as _,
        Arc::new(TokioRuntime),
    );
    (endpoint.unwrap(), socket)
}

fn client(config: &ClientConfig, address: &str) -> Endpoint {
    let mut endpoint = Endpoint::client(address.parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config.clone());
    endpoint
}

/// Accepts a connection, and its streams until it is closed: answers with as many bytes as were
/// asked for.
async fn answer(connection: Connection) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let asked = receive.read_to_end(1 << 24).await.unwrap();
        send.write_all(&asked).await.unwrap();
        send.finish().unwrap();
    }
}

async fn ask(connection: &Connection, bytes: usize) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let data: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
    let sending = async {
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
    };
    let ((), answer) = tokio::join!(sending, receive.read_to_end(bytes));
    assert!(answer.unwrap() == data, "all bytes came back");
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within twenty seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_the_records_of_its_peers() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (server_config, client_config) = configs();
        let socket = UdpSocket::bind(address).unwrap();
        let to = socket.local_addr().unwrap();
        let _datapath = datapath().install_on(&socket).unwrap();
        socket.enable_packet_meta().unwrap();
        let (server, metas) = serve(socket, 100, server_config);
        let accepting = tokio::spawn({
            let (server, metas) = (server.clone(), Arc::clone(&metas));
            async move {
                for _ in 0..3 {
                    let incoming = server.accept().await.unwrap();
                    let remote = incoming.remote_address();
                    let initial = metas.initial_meta(remote).unwrap().unwrap();
                    assert_eq!(initial.get(PORT), Some(remote.port()));
                    assert_eq!(initial.get(LONG), Some(true));
                    tokio::spawn(answer(incoming.await.unwrap()));
                }
            }
        });
        let stranger: SocketAddr = ([192, 0, 2, 1], 1).into();
        assert!(metas.initial_meta(stranger).is_none());
        for _ in 0..3 {
            let client = client(&client_config, address);
            let connection = soon(client.connect(to, "localhost").unwrap())
                .await
                .unwrap();
            // Enough for GSO and GRO to have something to do.
            soon(ask(&connection, 1 << 20)).await;
            let from = client.local_addr().unwrap();
            let latest = metas.latest_meta(from).unwrap().unwrap();
            assert_eq!(latest.get(PORT), Some(from.port()));
            assert_eq!(latest.get(LONG), Some(false));
            let initial = metas.initial_meta(from).unwrap().unwrap();
            assert_eq!(initial.get(LONG), Some(true), "that of the handshake stays");
        }
        soon(accepting).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_that_is_not_enabled_serves_all_the_same() {
    let (server_config, client_config) = configs();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    let (server, metas) = serve(socket, 1, server_config);
    let accepting =
        tokio::spawn(async move { answer(server.accept().await.unwrap().await.unwrap()).await });
    let client = client(&client_config, "127.0.0.1:0");
    let connection = soon(client.connect(to, "localhost").unwrap())
        .await
        .unwrap();
    soon(ask(&connection, 1000)).await;
    let error = metas.latest_meta(client.local_addr().unwrap()).unwrap();
    assert!(error.unwrap_err().is_unavailable(Reason::NotEnabled));
    connection.close(0u32.into(), b"");
    soon(accepting).await.unwrap();
}

#[tokio::test]
async fn what_the_socket_says_of_datagrams_is_what_quinns_own_says() {
    use quinn::{
        AsyncUdpSocket,
        udp::{RecvMeta, UdpSocketState},
    };
    use std::{future::poll_fn, io::IoSliceMut};

    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut told = Vec::new();
        for own in [false, true] {
            let socket = UdpSocket::bind(address).unwrap();
            let to = socket.local_addr().unwrap();
            let runtime: &dyn quinn::Runtime = &TokioRuntime;
            let socket: Arc<dyn AsyncUdpSocket> = match own {
                true => runtime.wrap_udp_socket(socket).unwrap(),
                false => MetaSocket::new(socket, 1).unwrap(),
            };
            let sender = UdpSocket::bind(address).unwrap();
            let sending = UdpSocketState::new((&sender).into()).unwrap();
            let transmit = quinn::udp::Transmit {
                destination: to,
                ecn: Some(quinn::udp::EcnCodepoint::Ect0),
                contents: &[7; 2500],
                segment_size: Some(1000).filter(|_| sending.max_gso_segments() > 2),
                src_ip: None,
            };
            sending.try_send((&sender).into(), &transmit).unwrap();
            let mut about = [RecvMeta::default(); 4];
            let mut buffers = [(); 4].map(|()| vec![0; 1 << 16]);
            let mut received = Vec::new();
            while received
                .iter()
                .map(|about: &RecvMeta| about.len)
                .sum::<usize>()
                < 2500
            {
                let count = soon(poll_fn(|cx| {
                    let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
                    socket.poll_recv(cx, &mut slices, &mut about)
                }))
                .await
                .unwrap();
                received.extend_from_slice(&about[..count]);
            }
            let sender = sender.local_addr().unwrap();
            assert!(received.iter().all(|about| about.addr == sender));
            let rest = received
                .iter()
                .map(|about| (about.len, about.stride, about.ecn, about.dst_ip));
            let limits = (
                socket.max_receive_segments(),
                socket.max_transmit_segments(),
                socket.may_fragment(),
            );
            told.push((rest.collect::<Vec<_>>(), limits));
        }
        println!("{told:?}");
        assert_eq!(told[0], told[1]);
        assert!(told[0].0[0].2.is_some() && told[0].0[0].3.is_some());
    }
}
