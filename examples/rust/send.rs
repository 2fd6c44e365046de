//! Says of what it sends whose it is: of a connection from its SYN on, and of each datagram.
//! Programs at egress read it; `bpf/bill.bpf.c` is one. The schema must let applications write the
//! field.
//!
//! `cargo run -p pktmeta-examples --bin send -- 192.0.2.1:7000`

use pktmeta::{Field, MetaSender, Outgoing, SendMeta};
use socket2::{Domain, Socket, Type};
use std::{
    io::Write,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

const TENANT: Field<u32> = Field::new("tenant");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let to: SocketAddr = std::env::args()
        .nth(1)
        .ok_or("usage: send ADDRESS:PORT")?
        .parse()?;

    // All that a socket sends. Before it connects, so that the SYN has it too.
    let mut stream = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    stream.as_fd().set_packet_meta(&TENANT.with(7))?;
    stream.connect(&to.into())?;
    stream.write_all(b"of tenant 7")?;

    // Each datagram its own.
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => "0.0.0.0:0".parse()?,
        SocketAddr::V6(_) => "[::]:0".parse()?,
    };
    let sender = MetaSender::new(UdpSocket::bind(any)?)?;
    sender.send_to(b"of tenant 8", to, &TENANT.with(8))?;
    let [nine, ten] = [TENANT.with(9), TENANT.with(10)];
    let data = b"of tenant 9 or 10";
    let sent = sender.send_batch(&[
        Outgoing::new(data, to, &nine),
        Outgoing::new(data, to, &ten),
    ])?;
    println!("sent a connection and {} datagrams", 1 + sent);
    Ok(())
}
