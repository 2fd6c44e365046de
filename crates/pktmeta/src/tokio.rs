//! Metadata of tokio's sockets (feature `tokio`).
//!
//! Calls that do not wait work on tokio's sockets as on any other: [`TcpMeta`](crate::TcpMeta) and
//! [`SendMeta`](crate::SendMeta) on `TcpStream`, `TcpListener`, the halves' `as_ref()`, and
//! `TcpSocket`, which can be given a record before it connects. The calls that wait are here.
//!
//! ```no_run
//! use pktmeta::{Field, tokio::AsyncUdpMeta};
//! use tokio::net::UdpSocket;
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = UdpSocket::bind("[::]:5353").await?;
//! socket.enable_packet_meta()?;
//! let mut buf = [0; 2048];
//! loop {
//!     let received = socket.recv_from_meta(&mut buf).await?;
//!     let tenant = received.meta.ok().and_then(|meta| meta.get(TENANT));
//!     println!("{}: {} bytes of tenant {tenant:?}", received.from, received.len);
//! }
//! # }
//! ```

use crate::{Batch, Carrier, Error, Outgoing, Received, ToRecord, host::datagrams, receive};
use ::tokio::{io::Interest, net::UdpSocket};
use std::{
    borrow::Borrow,
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

/// Receives datagrams with their metadata, as [`UdpMeta`](crate::UdpMeta) does. Both traits can be
/// imported together.
///
/// The futures can be dropped at any time, as in `select!`, and no datagram is lost.
pub trait AsyncUdpMeta: sealed::AsyncUdp {
    /// Makes the host keep the metadata of this socket's datagrams:
    /// [`UdpMeta::enable_packet_meta`](crate::UdpMeta::enable_packet_meta).
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath; [`Error::Io`] if the kernel refuses.
    fn enable_packet_meta(&self) -> Result<(), Error>;

    /// The same with this carrier and no other.
    ///
    /// # Errors
    /// As [`AsyncUdpMeta::enable_packet_meta`]; [`crate::Reason::NoTickets`] if this process may
    /// not have it.
    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error>;

    /// Makes the kernel say how datagrams arrive:
    /// [`UdpMeta::enable_arrival`](crate::UdpMeta::enable_arrival).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    fn enable_arrival(&self) -> io::Result<()>;

    /// Lets the kernel merge datagrams: [`UdpMeta::enable_gro`](crate::UdpMeta::enable_gro).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    fn enable_gro(&self) -> io::Result<()>;

    /// Waits for one datagram, which is received as by
    /// [`UdpMeta::recv_from_meta`](crate::UdpMeta::recv_from_meta).
    ///
    /// # Errors
    /// Those of `recvmsg`. The metadata has its own.
    fn recv_from_meta(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<Received>> + Send;

    /// Waits for datagrams and receives as many as there are and `batch` has room for:
    /// [`UdpMeta::recv_batch_meta`](crate::UdpMeta::recv_batch_meta).
    ///
    /// # Errors
    /// Those of `recvmmsg`; the batch is empty then.
    fn recv_batch_meta(&self, batch: &mut Batch) -> impl Future<Output = io::Result<usize>> + Send;
}

mod sealed {
    pub trait AsyncUdp {}
    impl AsyncUdp for tokio::net::UdpSocket {}
}

impl AsyncUdpMeta for UdpSocket {
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

    fn recv_from_meta(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<Received>> + Send {
        self.async_io(Interest::READABLE, || receive::one(self.as_fd(), buf))
    }

    fn recv_batch_meta(&self, batch: &mut Batch) -> impl Future<Output = io::Result<usize>> + Send {
        self.async_io(Interest::READABLE, || batch.receive(self.as_fd()))
    }
}

/// [`crate::MetaSender`] for tokio: of a [`UdpSocket`], a reference to one, or an `Arc`.
///
/// The futures can be dropped at any time: a datagram is sent or it is not.
pub struct MetaSender<S = UdpSocket> {
    sender: crate::MetaSender<S>,
}

impl<S: AsFd + Borrow<UdpSocket>> MetaSender<S> {
    /// As [`crate::MetaSender::new`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath or of another kind of socket; [`Error::Io`] if the
    /// kernel refuses.
    pub fn new(socket: S) -> Result<Self, Error> {
        let sender = crate::MetaSender::new(socket)?;
        Ok(Self { sender })
    }

    /// Sends a datagram, once the socket has room: [`crate::MetaSender::send_to`].
    ///
    /// # Errors
    /// Those of `sendmsg`; an error with a [`crate::Error`] in it if the datagram cannot be
    /// labelled.
    pub async fn send_to<R: ToRecord + ?Sized>(
        &self,
        data: &[u8],
        to: SocketAddr,
        values: &R,
    ) -> io::Result<usize> {
        self.when_writable(|| self.sender.send_to(data, to, values))
            .await
    }

    /// The same on a connected socket: [`crate::MetaSender::send`].
    ///
    /// # Errors
    /// As [`MetaSender::send_to`].
    pub async fn send<R: ToRecord + ?Sized>(&self, data: &[u8], values: &R) -> io::Result<usize> {
        self.when_writable(|| self.sender.send(data, values)).await
    }

    /// Sends as many datagrams as the socket has room for, at least one:
    /// [`crate::MetaSender::send_batch`].
    ///
    /// # Errors
    /// As [`MetaSender::send_to`], of the first datagram.
    pub async fn send_batch(&self, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
        self.when_writable(|| self.sender.send_batch(datagrams))
            .await
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        self.sender.get_ref()
    }

    async fn when_writable<T>(&self, send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let socket: &UdpSocket = self.get_ref().borrow();
        socket.async_io(Interest::WRITABLE, send).await
    }
}

impl<S: AsFd> AsFd for MetaSender<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for MetaSender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sender.fmt(f)
    }
}
