//! Metadata of TCP connections.

use crate::{Error, PacketMeta, datapath};
use pktmeta_core::abi;
use std::os::fd::AsFd;

/// Reads what was said about the packets of a TCP connection.
///
/// For anything that has a TCP socket: `std::net::TcpStream`, tokio's, your own. Needs a
/// datapath (`pktmeta up`) on a cgroup that contains the process, on any kernel that one runs on; no
/// privileges. Each call is one `getsockopt`, plus another where the process may not map the
/// datapath's ring.
pub trait TcpMeta {
    /// The record of the latest labelled segment that arrived on the connection.
    ///
    /// Segments without a record leave the latest one in place. TCP may merge segments before they
    /// get here: what becomes of their records is the field's merge policy.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath, or if this is not a TCP socket;
    /// [`Error::Malformed`] if the record is damaged. That there was no record is not an error:
    /// [`PacketMeta::is_absent`].
    fn packet_meta(&self) -> Result<PacketMeta, Error>;

    /// The record of the segment that opened the connection: the peer's SYN on an accepted socket,
    /// its SYN-ACK on one that connected.
    ///
    /// # Errors
    /// As [`TcpMeta::packet_meta`].
    fn opening_meta(&self) -> Result<PacketMeta, Error>;
}

impl<S: AsFd + ?Sized> TcpMeta for S {
    fn packet_meta(&self) -> Result<PacketMeta, Error> {
        datapath::segment(self.as_fd(), abi::PKTMETA_RX)
    }

    fn opening_meta(&self) -> Result<PacketMeta, Error> {
        datapath::segment(self.as_fd(), abi::PKTMETA_RX_SYN)
    }
}
