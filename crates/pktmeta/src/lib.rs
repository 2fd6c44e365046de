//! What XDP and TC programs said about a packet, read from its TCP or UDP socket.
//!
//! A *record* of named, typed fields travels with each packet from the driver to the socket. This
//! crate reads it there. It needs no libbpf and no privileges of its own, only a datapath that
//! somebody started: `pktmeta up --iface ... --cgroup ...`.
//!
//! # TCP
//! ```no_run
//! use pktmeta::{Field, TcpMeta};
//! use std::net::TcpListener;
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! let listener = TcpListener::bind("[::]:8080")?;
//! let (stream, _) = listener.accept()?;
//! match stream.opening_meta()?.get(TENANT) {
//!     Some(tenant) => println!("a connection of tenant {tenant}"),
//!     None => println!("nobody said whose connection this is"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # UDP
//! ```no_run
//! use pktmeta::{UdpMeta, builtin};
//! use std::net::UdpSocket;
//!
//! let socket = UdpSocket::bind("[::]:5353")?;
//! socket.enable_packet_meta()?;
//! let mut buf = [0; 2048];
//! loop {
//!     let (length, from, meta) = socket.recv_from_meta(&mut buf)?;
//!     match meta {
//!         Ok(meta) => println!("{from}: {length} bytes, queue {:?}", meta.get(builtin::RX_QUEUE)),
//!         Err(error) => println!("{from}: {length} bytes; {error}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! [`UdpMeta::recv_batch_meta`] does the same for many datagrams at once.
//!
//! # Three ways to have no value
//! | result | meaning |
//! |---|---|
//! | [`PacketMeta::is_absent`] | the packet had no record |
//! | [`Error::Overrun`] | it had one, but it was read too late |
//! | [`Error::Unavailable`] | nobody looked: no datapath, or the socket is not enabled |
//!
//! # One datapath at a time
//! What the process learns of the host's fields, and the ring that it maps, are shared by all of
//! its sockets. A datapath that was taken down or replaced is noticed when the next metadata is
//! read: in the mapped ring, at no cost, or, in a process that may not map it, by asking it
//! about each segment and each datagram. New fields of a running datapath are looked
//! up when a record has one, at most once a second.

#[cfg(not(target_os = "linux"))]
compile_error!("pktmeta reads metadata of the Linux kernel's sockets: build for Linux");

mod batch;
mod datapath;
mod error;
mod message;
mod meta;
mod ring;
mod sys;
mod tcp;
mod udp;

pub use batch::{Batch, Datagram};
pub use error::{Error, Reason};
pub use meta::PacketMeta;
pub use pktmeta_core::{
    Field, FieldInfo, FieldType, Kind, MacAddr, Record, Registry, Timestamp, Value, VarBytes,
    abi::Info, builtin, record::ParseError,
};
pub use tcp::TcpMeta;
pub use udp::UdpMeta;

/// Asks the datapath of a TCP or UDP socket who it is, for diagnostics.
///
/// # Errors
/// [`Error::Unavailable`] if no datapath answers on this socket, or one of another ABI version.
pub fn info(socket: impl std::os::fd::AsFd) -> Result<Info, Error> {
    datapath::info(socket.as_fd())
}
