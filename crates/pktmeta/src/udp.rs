//! Metadata of UDP datagrams.

use crate::{
    Batch, Carrier, Error, PacketMeta,
    datagrams::{self, Datagrams, Inbound},
    message::Envelope,
    sys,
};
use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
};

/// Receives UDP datagrams with what was said about each of them.
///
/// For anything that has a UDP socket: `std::net::UdpSocket`, your own; tokio's have `pktmeta::tokio::UdpMeta`.
/// Needs a datapath (`pktmeta up`) on a cgroup that contains the process; no privileges.
///
/// Where the process may open the datapath's ring, a pinned map in `$PKTMETA_BPFFS` (by default
/// `/sys/fs/bpf`), metadata costs no system call; elsewhere one `getsockopt` per datagram. Nothing is
/// allocated. Trouble with metadata never costs the payload: it is in an inner `Result`.
///
/// [`Error::Overrun`] is not the datagram's fault: so many others arrived since, on any socket of
/// the host, that its record was overwritten.
pub trait UdpMeta {
    /// Makes the host keep the metadata of this socket's datagrams. May be called again, and must
    /// be once the datapath was replaced (then datagrams say [`crate::Reason::NotEnabled`]).
    ///
    /// A socket that is enabled stays as it is; else the first [`Carrier`] is taken that kernel and
    /// capabilities allow: mark, priority, timestamp.
    ///
    /// Call it before datagrams can arrive, at best before `bind`: one that is already in the
    /// socket's queue says [`crate::Reason::NotEnabled`], or has the mark of whoever else sets marks
    /// and counts as [`Error::Overrun`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath (the socket is unchanged), or if this is not a UDP
    /// socket; [`Error::Io`] if the kernel refuses.
    fn enable_packet_meta(&self) -> Result<(), Error>;

    /// The same with this carrier and no other, because the application wants the others for itself.
    ///
    /// # Errors
    /// As [`UdpMeta::enable_packet_meta`]; [`crate::Reason::NoTickets`] if this process may not have it.
    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error>;

    /// Receives one datagram, like `std::net::UdpSocket::recv_from`: what does not fit `buf` is
    /// lost. Returns its length in bytes, its sender, and its metadata.
    ///
    /// # Errors
    /// Those of `recvmsg`, `EINTR` excepted; `InvalidInput` if the sender has no IP address, as on
    /// TCP and Unix sockets. The metadata has its own errors, among them
    /// [`crate::Reason::NotEnabled`] if the datagram has no ticket.
    fn recv_from_meta(
        &self,
        buf: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Result<PacketMeta, Error>)>;

    /// Receives as many datagrams as there are and `batch` has room for, with one `recvmmsg`, and
    /// returns their number. Blocks for the first only, if the socket blocks.
    ///
    /// # Errors
    /// As [`UdpMeta::recv_from_meta`]; the batch is empty then.
    fn recv_batch_meta(&self, batch: &mut Batch) -> io::Result<usize>;

    /// The metadata of a datagram that you received yourself, with `recvmsg` and these bytes of
    /// `msg_control`. At once, please: its record does not wait for long.
    ///
    /// # Errors
    /// As the metadata of [`UdpMeta::recv_from_meta`].
    fn control_meta(&self, control: &[u8]) -> Result<PacketMeta, Error>;
}

impl<S: AsFd + ?Sized> UdpMeta for S {
    fn enable_packet_meta(&self) -> Result<(), Error> {
        datagrams::enable(self.as_fd(), None)
    }

    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error> {
        datagrams::enable(self.as_fd(), Some(carrier))
    }

    fn recv_from_meta(
        &self,
        buf: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Result<PacketMeta, Error>)> {
        let socket = self.as_fd();
        let mut envelope = Envelope::new();
        let mut payload = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        let mut header = envelope.header(&mut payload);
        // SAFETY: `header` points to `payload` and into `envelope`, `payload` to `buf`; all live
        // and are ours to write to.
        let length = sys::uninterrupted(|| unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) as i64
        })?;
        let from = envelope.sender(&header)?;
        let meta = Datagrams::of(socket).meta(&Inbound {
            control: envelope.control(&header),
            from,
            data: &buf[..length],
        });
        Ok((length, from, meta))
    }

    fn recv_batch_meta(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.receive(self.as_fd())
    }

    fn control_meta(&self, control: &[u8]) -> Result<PacketMeta, Error> {
        Datagrams::of(self.as_fd()).meta(&Inbound {
            control,
            from: (Ipv6Addr::UNSPECIFIED, 0).into(),
            data: &[],
        })
    }
}
