//! A server of one line a request, a thread a connection, which tells whose each request is: a
//! proxy may put the requests of many into one connection.
//!
//! `cargo run -p pktmeta-examples --bin requests -- 192.0.2.2:7000`

use pktmeta::{Error, Field, PacketMeta, TcpMeta, builtin};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

const TENANT: Field<u32> = Field::new("tenant");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: requests ADDRESS:PORT")?;
    let listener = TcpListener::bind(address)?;
    if let Err(error) = listener.remember_segments() {
        println!("all requests are whose their connection is: {error}");
    }
    println!("listening");
    loop {
        let (stream, from) = listener.accept()?;
        // Again: a datapath that came meanwhile does not know of it.
        let _ = listener.remember_segments();
        thread::spawn(move || {
            println!("{from}: {}", whose(stream.opening_meta()));
            let served = serve(&stream);
            served.unwrap_or_else(|error| println!("{from}: {error}"));
        });
    }
}

fn serve(mut stream: &TcpStream) -> io::Result<()> {
    let mut requests = BufReader::new(stream);
    let mut position = 0;
    loop {
        let mut request = String::new();
        let length = requests.read_line(&mut request)?;
        if length == 0 {
            return Ok(());
        }
        let answer = match stream.meta_at(position) {
            // Too long ago, or never asked for: what is known is the connection.
            Err(Error::Forgotten) => whose(stream.opening_meta()),
            meta => whose(meta),
        };
        writeln!(stream, "{answer}")?;
        position += length as u64;
    }
}

/// What is wrong with the metadata is no reason not to serve.
fn whose(meta: Result<PacketMeta, Error>) -> String {
    let meta = match meta {
        Ok(meta) => meta,
        Err(error) => return format!("nobody's: {error}"),
    };
    match (meta.get(TENANT), meta.get(builtin::PACKET_NUMBER)) {
        (Some(tenant), Some(number)) => format!("tenant {tenant}'s, of packet {number}"),
        (Some(tenant), None) => format!("tenant {tenant}'s"),
        (None, _) => "nobody's".into(),
    }
}
