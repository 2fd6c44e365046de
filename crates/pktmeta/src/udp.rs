//! Metadata of UDP datagrams.

use crate::{
    Batch, Carrier, Error, PacketMeta, Received,
    carrier::Tickets,
    host::datagrams::{self, Inbound, Records},
    receive,
    socket::BlockingUdp,
};
use std::{
    io::{self, IoSliceMut},
    net::Ipv6Addr,
};

/// Receives UDP datagrams, each with its metadata.
///
/// For `std::net::UdpSocket`, and by [`BorrowedFd`](std::os::fd::BorrowedFd) for any other that
/// waits by blocking: `socket.as_fd()`. tokio's have `pktmeta::tokio::AsyncUdpMeta`. Needs a
/// datapath (`pktmeta up`) on a cgroup that contains the process; no privileges.
///
/// Where the process may open the datapath's ring, a pinned map in `$PKTMETA_BPFFS` (by default
/// `/sys/fs/bpf`), metadata costs no system call; elsewhere one `getsockopt` per datagram. The ring
/// is not mapped under a seccomp filter, which may kill a process that calls `bpf(2)`:
/// `PKTMETA_RING=on` says that this filter does not, and `off` forbids the mapping. Nothing is
/// allocated. An error of the metadata never costs the payload: it is in an inner `Result`.
///
/// [`Error::Overrun`] means that so many other datagrams arrived since, on any socket of the host,
/// that the record was overwritten.
///
/// A TCP connection has no datagrams:
/// ```compile_fail,E0599
/// use pktmeta::UdpMeta;
/// std::net::TcpStream::connect("192.0.2.1:80")?.enable_packet_meta()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait UdpMeta: BlockingUdp {
    /// Makes the host keep the metadata of this socket's datagrams. May be called again, and must
    /// be once the datapath was replaced (then datagrams say [`crate::Reason::NotEnabled`]).
    ///
    /// A socket that is enabled stays as it is. Else the call takes the first [`Carrier`] that
    /// kernel and capabilities allow: mark, priority, timestamp.
    ///
    /// Call it before datagrams can arrive, at best before `bind`: one that is already in the
    /// socket's queue says [`crate::Reason::NotEnabled`], or has the mark of whoever else sets
    /// marks and counts as [`Error::Overrun`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath (the socket is unchanged), or if this is not a UDP
    /// socket; [`Error::Io`] if the kernel refuses.
    fn enable_packet_meta(&self) -> Result<(), Error>;

    /// The same with this carrier and no other, because the application wants the others for
    /// itself.
    ///
    /// # Errors
    /// As [`UdpMeta::enable_packet_meta`]; [`crate::Reason::NoTickets`] if this process may not
    /// have it.
    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error>;

    /// Makes the kernel say how each datagram arrived: [`Arrival`](crate::Arrival). That comes with
    /// the datagram, and needs no datapath.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    fn enable_arrival(&self) -> io::Result<()>;

    /// Lets the kernel merge datagrams of one sender and equal metadata (`UDP_GRO`), so that one
    /// call receives many. A buffer then has to be for 65,535 bytes, and [`Received::datagrams`]
    /// splits it; a [`Batch`] is split already.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    fn enable_gro(&self) -> io::Result<()>;

    /// Receives one datagram, like `std::net::UdpSocket::recv_from`: what does not fit `buf` is
    /// lost.
    ///
    /// # Errors
    /// Those of `recvmsg`, `EINTR` excepted; `InvalidInput` if the sender has no IP address, as on
    /// TCP and Unix sockets. The metadata has its own errors, among them
    /// [`crate::Reason::NotEnabled`] if the datagram has no ticket.
    fn recv_from_meta(&self, buf: &mut [u8]) -> io::Result<Received>;

    /// Receives as many datagrams as there are and `batch` has room for, with one `recvmmsg`, and
    /// returns their number. Blocks for the first only, if the socket blocks.
    ///
    /// # Errors
    /// As [`UdpMeta::recv_from_meta`]; the batch is empty then.
    fn recv_batch_meta(&self, batch: &mut Batch) -> io::Result<usize>;

    /// Receives as many datagrams as there are, 32 at most, each into one of `buffers`, with one
    /// `recvmmsg`, and returns how many buffers were used. Calls `each` for every datagram, or what
    /// was [merged](UdpMeta::enable_gro) to one, with the number of its buffer and its payload: for
    /// protocol stacks that have buffers of their own. A [`Batch`] brings its own.
    ///
    /// A message whose sender has no IP address is no datagram of UDP: it uses a buffer, and `each`
    /// is not called.
    ///
    /// # Errors
    /// Those of `recvmmsg`, `EINTR` excepted.
    fn recv_into_meta(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        each: &mut dyn FnMut(usize, &[u8], Received),
    ) -> io::Result<usize>;

    /// The metadata of a datagram that you received yourself, with `recvmsg` and these bytes of
    /// `msg_control`. Call it promptly: the record's slot is soon used again.
    ///
    /// The ticket takes 24 bytes of `msg_control`, and stands before what UDP and IP say:
    /// [`Carrier`].
    ///
    /// # Errors
    /// As the metadata of [`UdpMeta::recv_from_meta`].
    fn control_meta(&self, control: &[u8]) -> Result<PacketMeta, Error>;
}

impl<S: BlockingUdp + ?Sized> UdpMeta for S {
    fn enable_packet_meta(&self) -> Result<(), Error> {
        datagrams::enable(self.as_fd(), None)
    }

    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error> {
        datagrams::enable(self.as_fd(), Some(carrier))
    }

    fn enable_arrival(&self) -> io::Result<()> {
        receive::enable_arrival(self.as_fd())
    }

    fn enable_gro(&self) -> io::Result<()> {
        receive::enable_gro(self.as_fd())
    }

    fn recv_from_meta(&self, buf: &mut [u8]) -> io::Result<Received> {
        receive::one(self.as_fd(), buf)
    }

    fn recv_batch_meta(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.receive(self.as_fd())
    }

    fn recv_into_meta(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        each: &mut dyn FnMut(usize, &[u8], Received),
    ) -> io::Result<usize> {
        receive::into(self.as_fd(), buffers, each)
    }

    fn control_meta(&self, control: &[u8]) -> Result<PacketMeta, Error> {
        let inbound = Inbound {
            tickets: Tickets::parse(control),
            from: (Ipv6Addr::UNSPECIFIED, 0).into(),
            data: &[],
        };
        let mut meta = PacketMeta::none();
        Records::of(self.as_fd()).read(inbound, &mut meta)?;
        Ok(meta)
    }
}
