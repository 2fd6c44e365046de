//! Echoes TCP and UDP, and says what XDP and TC said of each packet.
//!
//! `cargo run -p pktmeta-examples --bin echo -- 192.0.2.2:7000`

use pktmeta::{Error, PacketMeta, TcpMeta, UdpMeta, builtin};
use std::{
    error, io,
    net::{TcpListener, UdpSocket},
};

fn main() -> Result<(), Box<dyn error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo ADDRESS:PORT")?;
    let datagrams = UdpSocket::bind(&address)?;
    if let Err(error) = datagrams.enable_packet_meta() {
        eprintln!("serving without metadata for now: {error:#}");
    }
    let connections = TcpListener::bind(&address)?;
    println!("listening");
    std::thread::scope(|scope| {
        let udp = scope.spawn(|| echo_datagrams(&datagrams));
        echo_connections(&connections)?;
        udp.join()
            .map_err(|_| io::Error::other("the UDP thread panicked"))?
    })?;
    Ok(())
}

fn echo_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let received = socket.recv_from_meta(&mut buffer)?;
        if let Err(Error::Unavailable(_)) = received.meta {
            // A datapath that came meanwhile does not know the socket. Without one, this fails.
            let _ = socket.enable_packet_meta();
        }
        let from = received.from;
        println!("datagram from {from}: {}", describe(received.meta));
        socket.send_to(&buffer[..received.len], from)?;
    }
}

fn echo_connections(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, from) = listener.accept()?;
        println!(
            "connection from {from}: {}",
            describe(stream.opening_meta())
        );
        io::copy(&mut &stream, &mut &stream)?;
    }
}

fn describe(meta: Result<PacketMeta, Error>) -> String {
    match meta {
        Ok(meta) if meta.is_absent() => "no record".into(),
        Ok(meta) => match meta.get(builtin::RX_IFINDEX) {
            Some(ifindex) => format!("came in by interface {ifindex}; all: {meta:?}"),
            None => format!("{meta:?}"),
        },
        Err(error) => error.to_string(),
    }
}
