//! A UDP server on any address, as DNS servers are: each answer comes from the address that was
//! asked, and is the tenant's that asked.
//!
//! `cargo run -p pktmeta-examples --bin answer -- 0.0.0.0:7000`

use pktmeta::{Error, Field, MetaSender, Outgoing, UdpMeta};
use std::net::UdpSocket;

const TENANT: Field<u32> = Field::new("tenant");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: answer ADDRESS:PORT")?;
    let socket = UdpSocket::bind(address)?;
    socket.enable_arrival()?;
    let sender = MetaSender::new(&socket)?;
    println!("listening");
    let mut buffer = [0; 2048];
    loop {
        let asked = socket.recv_from_meta(&mut buffer)?;
        if let Err(Error::Unavailable(_)) = asked.meta {
            // A datapath that came meanwhile does not know the socket. Without one, this fails.
            let _ = socket.enable_packet_meta();
        }
        let tenant = asked.meta.ok().and_then(|meta| meta.get(TENANT));
        println!("{} is of tenant {tenant:?}", asked.from);
        let data = &buffer[..asked.len];
        let plain = Outgoing::new(data, asked.from, &()).from(asked.arrival.local);
        let label = tenant.map(|tenant| TENANT.with(tenant));
        let labelled = label.as_ref().map(|label| plain.with(label));
        // An answer that cannot be labelled is an answer all the same.
        if labelled.is_none_or(|answer| sender.send_batch(&[answer]).is_err()) {
            sender.send_batch(&[plain])?;
        }
    }
}
