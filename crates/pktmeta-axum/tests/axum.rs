//! An axum server under test, on loopback and with a mock datapath.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use axum::{
    Router,
    extract::{ConnectInfo, connect_info::Connected},
    routing::get,
    serve::{IncomingStream, Listener},
};
use pktmeta::{
    Field, Reason,
    mock::{Datapath, Label, PacketKind},
};
use pktmeta_axum::ConnectionMeta;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PORT: Field<u16> = Field::new("port");

async fn say(ConnectInfo(connection): ConnectInfo<ConnectionMeta>) -> String {
    let ConnectionMeta {
        remote, opening, ..
    } = connection;
    match opening {
        Ok(meta) => format!("{remote} {:?}", meta.get(PORT)),
        Err(error) if error.is_unavailable(Reason::NoDatapath) => format!("{remote} nobody"),
        Err(error) => panic!("{error:?}"),
    }
}

fn app() -> axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, ConnectionMeta> {
    Router::new()
        .route("/", get(say))
        .into_make_service_with_connect_info()
}

/// Labels connections with the peer's port.
fn datapath() -> Datapath {
    Datapath::new().field(PORT).label(|packet| {
        assert_eq!(packet.kind, PacketKind::Opening);
        Label::of(PORT.with(packet.from.port()))
    })
}

/// The bodies of the answers to so many requests on one connection, and the client's address.
async fn ask(server: SocketAddr, requests: usize) -> (Vec<String>, SocketAddr) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    for at in 1..=requests {
        let end = if at == requests {
            "Connection: close\r\n\r\n"
        } else {
            "\r\n"
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(end.as_bytes()).await.unwrap();
    }
    let from = stream.local_addr().unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let bodies = answers.split("HTTP/1.1 200 OK").skip(1);
    let bodies = bodies.map(|answer| answer.split("\r\n\r\n").nth(1).unwrap().to_owned());
    (bodies.collect(), from)
}

#[tokio::test]
async fn a_handler_has_the_record_of_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _datapath = datapath().install_on(&listener).unwrap();
    let _server = tokio::spawn(async { axum::serve(listener, app()).await });
    for _ in 0..3 {
        let (answers, from) = ask(address, 2).await;
        let expected = format!("{from} Some({})", from.port());
        assert_eq!(answers, [expected.as_str(); 2]);
    }
}

/// A listener and a type for its connections, as an application would have its own.
struct Own(TcpListener);

impl Listener for Own {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        self.0.accept().await.unwrap()
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Clone)]
struct OwnConnection(ConnectionMeta);

impl Connected<IncomingStream<'_, Own>> for OwnConnection {
    fn connect_info(stream: IncomingStream<'_, Own>) -> Self {
        Self(ConnectionMeta::of(stream.io(), *stream.remote_addr()))
    }
}

#[tokio::test]
async fn a_listener_of_ones_own_has_it_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _datapath = datapath().install_on(&listener).unwrap();
    let own = |ConnectInfo(own): ConnectInfo<OwnConnection>| say(ConnectInfo(own.0));
    let app = Router::new().route("/", get(own));
    let app = app.into_make_service_with_connect_info::<OwnConnection>();
    let _server = tokio::spawn(async { axum::serve(Own(listener), app).await });
    let (answers, from) = ask(address, 1).await;
    assert_eq!(answers, [format!("{from} Some({})", from.port())]);
}

#[tokio::test]
async fn without_a_datapath_requests_are_served_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if pktmeta::info(&listener).is_ok() {
        println!("skipped: a datapath answers here (`pktmeta down` first)");
        return;
    }
    let address = listener.local_addr().unwrap();
    let _server = tokio::spawn(async { axum::serve(listener, app()).await });
    let (answers, from) = ask(address, 1).await;
    assert_eq!(answers, [format!("{from} nobody")]);
}
