//! An asynchronous UDP server: as many datagrams at a time as there are, each with its own record.
//!
//! `cargo run -p pktmeta-examples --bin datagrams -- 192.0.2.2:7000`

use pktmeta::{Batch, Error, Field, tokio::AsyncUdpMeta};
use tokio::net::UdpSocket;

const TENANT: Field<u32> = Field::new("tenant");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: datagrams ADDRESS:PORT")?;
    let socket = UdpSocket::bind(address).await?;
    if let Err(error) = socket.enable_packet_meta() {
        eprintln!("serving without metadata for now: {error:#}");
    }
    println!("listening");
    let mut batch = Batch::new(64, 2048);
    loop {
        socket.recv_batch_meta(&mut batch).await?;
        let mut is_unknown = false;
        for datagram in &batch {
            match datagram.meta.map(|meta| meta.get(TENANT)) {
                Ok(tenant) => println!("{} is of tenant {tenant:?}", datagram.from),
                Err(error) => {
                    is_unknown |= matches!(error, Error::Unavailable(_));
                    println!("{}: {error}", datagram.from);
                }
            }
            socket.send_to(datagram.data, datagram.from).await?;
        }
        if is_unknown {
            // A datapath that came meanwhile does not know the socket. Without one, this fails.
            let _ = socket.enable_packet_meta();
        }
    }
}
