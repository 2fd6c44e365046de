//! Reads the metadata that XDP and TC programs gave a packet, from its TCP or UDP socket; and gives
//! the packets that an application sends metadata of their own.
//!
//! A *record* of named, typed fields travels with each packet from the driver to the socket. This
//! crate reads it there, and sets the records of what is sent. It needs no libbpf and no privileges
//! of its own, only a datapath that somebody started: `pktmeta up --iface ... --cgroup ...`.
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
//!     let received = socket.recv_from_meta(&mut buf)?;
//!     match &received.meta {
//!         Ok(meta) => println!("{}: queue {:?}", received.from, meta.get(builtin::RX_QUEUE)),
//!         Err(error) => println!("{}: {error}", received.from),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! [`UdpMeta::recv_batch_meta`] does the same for many datagrams at once.
//! [`UdpMeta::enable_arrival`] adds to which address, by which interface and with which ECN they
//! came, [`UdpMeta::enable_gro`] lets the kernel merge them. Tickets of datagrams travel in the
//! mark if this process may read it; an application that uses marks itself chooses another
//! [`Carrier`].
//!
//! # Requests of one connection
//! A proxy that reads many requests from one connection has the record of each:
//! ```no_run
//! use pktmeta::{Error, Field, TcpMeta};
//! use std::{io::Read, net::TcpListener};
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! let listener = TcpListener::bind("[::]:8080")?;
//! listener.remember_segments()?;
//! let (mut stream, _) = listener.accept()?;
//! let mut position = 0;
//! let mut request = [0; 512];
//! while stream.read_exact(&mut request).is_ok() {
//!     match stream.meta_at(position) {
//!         Ok(meta) => println!("a request of tenant {:?}", meta.get(TENANT)),
//!         Err(Error::Forgotten) => println!("a request that was read too late"),
//!         Err(error) => return Err(error.into()),
//!     }
//!     position += request.len() as u64;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Sending
//! ```no_run
//! use pktmeta::{Field, MetaSender, SendMeta};
//! use std::net::{TcpStream, UdpSocket};
//!
//! const TRACE_ID: Field<u128> = Field::new("trace_id");
//! const COLOUR: Field<u8> = Field::new("colour");
//!
//! // Everything that a socket sends from now on ...
//! let stream = TcpStream::connect("[2001:db8::1]:8080")?;
//! stream.set_packet_meta(&(TRACE_ID.with(7), COLOUR.with(1)))?;
//! // ... or each datagram for itself.
//! let sender = MetaSender::new(UdpSocket::bind("[::]:0")?)?;
//! sender.send_to(b"hello", "[2001:db8::1]:4433".parse()?, &TRACE_ID.with(8))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! [`SendMeta`] is for sockets, [`MetaSender`] for datagrams; [`ToRecord`] lists the values that
//! can be sent, such as the builders of `pktmeta gen rust`.
//!
//! # Fields of your own
//! `pktmeta gen rust edge.toml` writes a module with a constant for each field of a schema, types
//! for its enumerations, and a builder: `edge::Record::new().tenant(7)`. No number is in it: each
//! host numbers its fields, and this crate asks it.
//!
//! # Reasons for a missing value
//! | result | meaning |
//! |---|---|
//! | [`PacketMeta::is_absent`] | the packet had no record |
//! | [`Error::Overrun`], [`Error::Forgotten`] | it had one, but it was read too late |
//! | [`Error::NotArrived`] | there is no such packet yet |
//! | [`Error::Unavailable`] | nobody looked: no datapath, or the socket is not enabled |
//!
//! An error says what happened; [`Error::remedy`] says what to do about it.
//!
//! # Optional features
//! None is on by default: the crate then needs libc, and nothing else that is not of pktmeta. All
//! build with the Rust version that the crate states.
//!
//! | feature | what | dependency |
//! |---|---|---|
//! | `tokio` | tokio's sockets: [`TcpMeta`], [`SendMeta`], and calls that wait for datagrams | tokio 1 |
//! | `mock` | a datapath for tests, without privileges; does nothing in a process that installs none | none |
//!
//! Servers with axum or quinn take `pktmeta-axum` and `pktmeta-quinn` beside it.
//!
//! # One datapath at a time
//! All sockets of a process share the fields that it has learnt and the ring that it has mapped.
//! The next read of metadata notices that the datapath was taken down or replaced: in the mapped
//! ring, at no cost, or, in a process that may not map it, by asking the datapath for each segment
//! and each datagram. The process looks up new fields of a running datapath when a record has one,
//! at most once a second.

#[cfg(not(target_os = "linux"))]
compile_error!("pktmeta reads metadata of the Linux kernel's sockets: build for Linux");

mod backend;
mod carrier;
mod error;
mod host;
mod meta;
mod net;
mod receive;
mod send;
mod socket;
mod tcp;
#[cfg(feature = "tokio")]
pub mod tokio;
mod udp;

#[cfg(feature = "mock")]
pub use backend::mock;
pub use carrier::Carrier;
pub use error::{Error, Reason};
pub use meta::PacketMeta;
pub use pktmeta_core::{
    Field, FieldInfo, FieldName, FieldType, Kind, MacAddr, Record, RecordError, Registry,
    Timestamp, ToRecord, Value, VarBytes, With, abi::Info, builtin, record::ParseError,
};
pub use receive::{Arrival, Batch, Datagram, Datagrams, Ecn, Received};
pub use send::{MetaSender, Outgoing, SendMeta};
pub use tcp::TcpMeta;
pub use udp::UdpMeta;

/// Asks the datapath of a TCP or UDP socket for its description, for diagnostics.
///
/// # Errors
/// [`Error::Unavailable`] if no datapath answers on this socket, or one of another ABI version.
pub fn info(socket: impl std::os::fd::AsFd) -> Result<Info, Error> {
    host::options::info(socket.as_fd())
}

/// The fields of a socket's host, with their numbers: for names that are not known before run time,
/// by [`Registry::by_name`], [`Value::encode`] and [`Record::set`].
///
/// # Errors
/// As [`info`].
pub fn registry(socket: impl std::os::fd::AsFd) -> Result<&'static Registry, Error> {
    host::datapath::registry(socket.as_fd())
}
