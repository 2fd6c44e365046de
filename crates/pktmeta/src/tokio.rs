//! Metadata of tokio's sockets (feature `tokio`).
//!
//! What does not wait works on tokio's sockets as on any other: [`TcpMeta`](crate::TcpMeta) and
//! [`SendMeta`](crate::SendMeta) on `TcpStream`, `TcpListener`, the halves' `as_ref()`, and `TcpSocket`, which
//! can be given a record before it connects. What waits is here.
//!
//! ```no_run
//! use pktmeta::{Field, tokio::UdpMeta};
//! use tokio::net::UdpSocket;
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = UdpSocket::bind("[::]:5353").await?;
//! socket.enable_packet_meta()?;
//! let mut buf = [0; 2048];
//! loop {
//!     let (length, from, meta) = socket.recv_from_meta(&mut buf).await?;
//!     let tenant = meta.ok().and_then(|meta| meta.get(TENANT));
//!     println!("{from}: {length} bytes of tenant {tenant:?}");
//! }
//! # }
//! ```

use crate::{Batch, Carrier, Error, Outgoing, PacketMeta, ToRecord};
use ::tokio::{io::Interest, net::UdpSocket};
use std::{
    borrow::Borrow,
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

/// As [`crate::UdpMeta`], for tokio: import this one instead of that.
///
/// The futures can be dropped at any time, as in `select!`: no datagram is lost by that.
pub trait UdpMeta {
    /// As [`crate::UdpMeta::enable_packet_meta`].
    ///
    /// # Errors
    /// As there.
    fn enable_packet_meta(&self) -> Result<(), Error>;

    /// As [`crate::UdpMeta::enable_packet_meta_in`].
    ///
    /// # Errors
    /// As there.
    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error>;

    /// Waits for one datagram: [`crate::UdpMeta::recv_from_meta`].
    ///
    /// # Errors
    /// As there.
    fn recv_from_meta(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr, Result<PacketMeta, Error>)>> + Send;

    /// Waits for datagrams and receives as many as there are: [`crate::UdpMeta::recv_batch_meta`].
    ///
    /// # Errors
    /// As there.
    fn recv_batch_meta(&self, batch: &mut Batch) -> impl Future<Output = io::Result<usize>> + Send;
}

impl UdpMeta for UdpSocket {
    fn enable_packet_meta(&self) -> Result<(), Error> {
        crate::UdpMeta::enable_packet_meta(self)
    }

    fn enable_packet_meta_in(&self, carrier: Carrier) -> Result<(), Error> {
        crate::UdpMeta::enable_packet_meta_in(self, carrier)
    }

    fn recv_from_meta(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr, Result<PacketMeta, Error>)>> + Send
    {
        self.async_io(Interest::READABLE, || {
            crate::UdpMeta::recv_from_meta(self, buf)
        })
    }

    fn recv_batch_meta(&self, batch: &mut Batch) -> impl Future<Output = io::Result<usize>> + Send {
        self.async_io(Interest::READABLE, || {
            crate::UdpMeta::recv_batch_meta(self, batch)
        })
    }
}

/// As [`crate::MetaSender`], for tokio: of a [`UdpSocket`], a reference to one, or an `Arc`.
///
/// The futures can be dropped at any time: a datagram is sent or it is not.
pub struct MetaSender<S = UdpSocket> {
    sender: crate::MetaSender<S>,
}

impl<S: AsFd + Borrow<UdpSocket>> MetaSender<S> {
    /// As [`crate::MetaSender::new`].
    ///
    /// # Errors
    /// As there.
    pub fn new(socket: S) -> Result<Self, Error> {
        let sender = crate::MetaSender::new(socket)?;
        Ok(Self { sender })
    }

    /// Sends a datagram, once the socket has room: [`crate::MetaSender::send_to`].
    ///
    /// # Errors
    /// As there.
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
    /// As there.
    pub async fn send<R: ToRecord + ?Sized>(&self, data: &[u8], values: &R) -> io::Result<usize> {
        self.when_writable(|| self.sender.send(data, values)).await
    }

    /// Sends as many datagrams as the socket has room for, at least one:
    /// [`crate::MetaSender::send_batch`].
    ///
    /// # Errors
    /// As there.
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
