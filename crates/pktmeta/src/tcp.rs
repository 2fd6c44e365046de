//! Metadata of TCP connections.

use crate::{
    Error, PacketMeta,
    error::Reason,
    host::{datapath, options},
    net::sockopt,
    socket::TcpSocket,
};
use pktmeta_core::abi;
use std::os::fd::BorrowedFd;

/// Reads the metadata of the packets of a TCP connection.
///
/// For `TcpStream` and `TcpListener` of the standard library, those of tokio with the feature
/// `tokio`, and by [`BorrowedFd`](std::os::fd::BorrowedFd) for any other: `socket.as_fd()`. Needs a
/// datapath (`pktmeta up`) on a cgroup that contains the process, on any kernel that one runs on;
/// no privileges. Each call is one `getsockopt`, plus another where the process may not map the
/// datapath's ring.
///
/// A file is no socket:
/// ```compile_fail,E0599
/// use pktmeta::TcpMeta;
/// std::fs::File::open("/dev/null")?.packet_meta()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TcpMeta: TcpSocket {
    /// The record of the latest labelled segment that arrived on the connection.
    ///
    /// A segment without a record leaves the latest one in place. The kernel may merge segments
    /// before they get here: the field's merge policy decides which value they have then.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath, or if this is not a TCP socket;
    /// [`Error::Malformed`] if the record is damaged; [`Error::NotKept`] if whether there was one
    /// is not known. That there was no record is not an error: [`PacketMeta::is_absent`].
    fn packet_meta(&self) -> Result<PacketMeta, Error>;

    /// The record of the segment that opened the connection: the peer's SYN on an accepted socket,
    /// its SYN-ACK on one that connected.
    ///
    /// # Errors
    /// As [`TcpMeta::packet_meta`].
    fn opening_meta(&self) -> Result<PacketMeta, Error>;

    /// Makes the connection remember the records of its latest 32 segments, for
    /// [`TcpMeta::meta_at`]. On a listener it is for the connections that it accepts, from their
    /// first byte on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath, or if this is not a TCP socket;
    /// [`Error::NoMemory`].
    fn remember_segments(&self) -> Result<(), Error>;

    /// The record of the segment with one byte of what the connection received: the byte before
    /// which the peer had sent `position` others. A proxy that has read N bytes asks for the next
    /// request by N.
    ///
    /// Of a byte that arrived more than once, the record of the first copy. Only the low 32 bits of
    /// the position are compared: ask for nothing that is 3 GiB behind what arrived, or 1 GiB ahead
    /// of it.
    ///
    /// # Errors
    /// [`Error::Forgotten`] if that is no longer known, or was not remembered;
    /// [`Error::NotArrived`] if the byte is still to come; else as [`TcpMeta::packet_meta`]. That
    /// the segment had no record is not an error: [`PacketMeta::is_absent`].
    fn meta_at(&self, position: u64) -> Result<PacketMeta, Error>;
}

impl<S: TcpSocket + ?Sized> TcpMeta for S {
    fn packet_meta(&self) -> Result<PacketMeta, Error> {
        segment(self.as_fd(), abi::SOL_PKTMETA, abi::PKTMETA_RX)
    }

    fn opening_meta(&self) -> Result<PacketMeta, Error> {
        segment(self.as_fd(), abi::SOL_PKTMETA, abi::PKTMETA_RX_SYN)
    }

    fn remember_segments(&self) -> Result<(), Error> {
        let (socket, on) = (self.as_fd(), 1i32.to_ne_bytes());
        options::tell(socket, abi::SOL_PKTMETA, abi::PKTMETA_RX_HISTORY, &on)
            .map_err(|error| explain(error, socket))
    }

    fn meta_at(&self, position: u64) -> Result<PacketMeta, Error> {
        segment(self.as_fd(), abi::SOL_PKTMETA_BYTE, position as u32 as i32)
    }
}

fn segment(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<PacketMeta, Error> {
    datapath::segment(socket, level, name).map_err(|error| explain(error, socket))
}

/// Names the cause if nobody answers because the socket is one of Multipath TCP.
fn explain(error: Error, socket: BorrowedFd<'_>) -> Error {
    let Error::Unavailable(Reason::NoDatapath | Reason::WrongSocket) = error else {
        return error;
    };
    match sockopt::get_number(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL) {
        Ok(libc::IPPROTO_MPTCP) => Reason::MultipathTcp.into(),
        _ => error,
    }
}
