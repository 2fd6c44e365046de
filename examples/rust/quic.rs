//! A QUIC server that knows what XDP said of a connection's Initial packet before it does any
//! cryptography, and refuses those who are nobody's. It echoes streams.
//!
//! `cargo run -p pktmeta-examples --bin quic -- 192.0.2.2:7000 /tmp/certificate.der`: its clients
//! have to trust this certificate, of "localhost".

use pktmeta::{Error, Field, UdpMeta};
use pktmeta_quinn::MetaSocket;
use quinn::{
    Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime,
    rustls::pki_types::PrivatePkcs8KeyDer,
};
use std::{env, error, fs, net::UdpSocket, os::fd::AsFd, sync::Arc};

const TENANT: Field<u32> = Field::new("tenant");

/// How many of its peers the server remembers.
const PEERS: usize = 4096;

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let usage = "usage: quic ADDRESS:PORT CERTIFICATE-FILE";
    let mut arguments = env::args().skip(1);
    let socket = UdpSocket::bind(arguments.next().ok_or(usage)?)?;
    if let Err(error) = socket.enable_packet_meta() {
        eprintln!("serving without metadata for now: {error:#}");
    }
    let socket = MetaSocket::new(socket, PEERS)?;
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        Some(self_signed(&arguments.next().ok_or(usage)?)?),
        Arc::clone(&socket) as _,
        Arc::new(TokioRuntime),
    )?;
    println!("listening");
    while let Some(incoming) = endpoint.accept().await {
        let remote = incoming.remote_address();
        let meta = socket.initial_meta(remote);
        if let Some(Err(Error::Unavailable(_))) = meta {
            // A datapath that came meanwhile does not know the socket. Without one, this fails.
            let _ = socket.as_fd().enable_packet_meta();
        }
        let meta = meta.and_then(Result::ok);
        match meta.and_then(|meta| meta.get(TENANT)) {
            Some(tenant) => {
                println!("{remote} is of tenant {tenant}");
                tokio::spawn(echo(incoming));
            }
            None => {
                println!("{remote} is nobody's");
                incoming.refuse();
            }
        }
    }
    Ok(())
}

/// Until the client closes the connection.
async fn echo(incoming: Incoming) -> Result<(), quinn::ConnectionError> {
    let connection = incoming.await?;
    loop {
        let (mut send, mut receive) = connection.accept_bi().await?;
        let Ok(request) = receive.read_to_end(1 << 16).await else {
            continue;
        };
        // A client that does not want the answer any more is no error.
        let _ = send.write_all(&request).await;
        let _ = send.finish();
    }
}

/// The configuration of a server whose certificate is in this file then.
fn self_signed(certificate: &str) -> Result<ServerConfig, Box<dyn error::Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(certificate, made.cert.der())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![made.cert.der().clone()];
    Ok(ServerConfig::with_single_cert(chain, key.into())?)
}
