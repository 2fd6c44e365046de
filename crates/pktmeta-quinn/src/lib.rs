//! The metadata that XDP and TC programs gave the datagrams of QUIC connections, for endpoints of
//! quinn 0.11.
//!
//! It needs a datapath on a cgroup that contains the process, like [`UdpMeta`], and no privileges.
//! The version of this crate is that of quinn.
//!
//! ```no_run
//! use pktmeta::{Field, UdpMeta};
//! use pktmeta_quinn::MetaSocket;
//! use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
//! use std::{net::UdpSocket, sync::Arc};
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! # async fn serve(
//! #     config: ServerConfig,
//! #     endpoint_config: EndpointConfig,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let socket = UdpSocket::bind("[::]:4433")?;
//! socket.enable_packet_meta()?;
//! let socket = MetaSocket::new(socket, 4096)?;
//! let endpoint = Endpoint::new_with_abstract_socket(
//!     endpoint_config,
//!     Some(config),
//!     socket.clone(),
//!     Arc::new(TokioRuntime),
//! )?;
//! while let Some(incoming) = endpoint.accept().await {
//!     match socket.initial_meta(incoming.remote_address()) {
//!         Some(Ok(meta)) if meta.get(TENANT) == Some(7) => incoming.accept()?.await?,
//!         _ => { incoming.refuse(); continue }
//!     };
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod peers;

use peers::Peers;
use pktmeta::{Arrival, Ecn, Error, PacketMeta, Received, UdpMeta};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState},
};
use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{io::Interest, net::UdpSocket};

/// A UDP socket for a quinn endpoint, which remembers the metadata of its peers' datagrams.
///
/// It does what quinn's own socket on tokio does: GSO and GRO, ECN, and the address that a datagram
/// was sent to. [`SendMeta`](pktmeta::SendMeta) of its `as_fd()` labels everything that the
/// endpoint sends, for all of its connections alike.
///
/// Peers are known by their addresses, since the socket knows nothing of connections: two
/// connections from one address share the same metadata, and a connection that moves begins anew
/// with its new address (`Connection::remote_address`). Anybody can send from any address: before
/// the handshake is done, a record tells of a *datagram*, not of a peer.
pub struct MetaSocket {
    io: UdpSocket,
    state: UdpSocketState,
    peers: Mutex<Peers>,
}

impl MetaSocket {
    /// Takes over a socket that was [enabled](UdpMeta::enable_packet_meta), before or after it was
    /// bound. A socket that was not enabled works too, and all its metadata are errors.
    ///
    /// It remembers the latest `peers` addresses, twice as many at most, half a kilobyte each.
    ///
    /// # Errors
    /// The kernel refuses an option that QUIC needs.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: std::net::UdpSocket, peers: usize) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Arc::new(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            peers: Mutex::new(Peers::new(peers)),
        }))
    }

    /// The metadata of the latest datagram with an Initial packet from `remote`, by which it began
    /// its connection or continued the handshake. `None` if there was none, or so many other peers
    /// sent something since that it was forgotten.
    #[must_use]
    pub fn initial_meta(&self, remote: SocketAddr) -> Option<Result<PacketMeta, Error>> {
        self.peers().get(remote)?.initial.clone()
    }

    /// The metadata of the latest datagram from `remote`. `None` as above.
    #[must_use]
    pub fn latest_meta(&self, remote: SocketAddr) -> Option<Result<PacketMeta, Error>> {
        Some(self.peers().get(remote)?.latest.clone())
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>], about: &mut [RecvMeta]) -> io::Result<usize> {
        let room = bufs.len().min(about.len());
        // Lock it only once a datagram is there: others read it meanwhile.
        let mut peers = None;
        // Empty until a datagram fills it: quinn drops empty ones.
        for about in &mut about[..room] {
            about.len = 0;
        }
        let socket = self.as_fd();
        socket.recv_into_meta(&mut bufs[..room], &mut |at, data, received| {
            let initial = data.chunks(received.segment.max(1)).any(is_initial);
            about[at] = describe(&received);
            let peers = peers.get_or_insert_with(|| self.peers());
            peers.note(received.from, initial, received.meta);
        })
    }
}

impl AsyncUdpSocket for MetaSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
            socket: self,
            writable: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.state.send((&self.io).into(), transmit)
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let received = self
                .io
                .try_io(Interest::READABLE, || self.receive(bufs, meta));
            match received {
                // It was not ready after all: wait again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl AsFd for MetaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl fmt::Debug for MetaSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetaSocket").field(&self.io).finish()
    }
}

/// Waits until the socket can send, as often as it is asked to.
struct Poller {
    socket: Arc<MetaSocket>,
    writable: Option<Writable>,
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, writable } = &mut *self;
        let waiting = writable.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.io.writable().await })
        });
        let result = ready!(waiting.as_mut().poll(cx));
        *writable = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Poller").field(&self.socket).finish()
    }
}

/// The description of received datagrams that quinn wants.
fn describe(received: &Received) -> RecvMeta {
    let Arrival { to, ecn, .. } = received.arrival;
    RecvMeta {
        addr: received.from,
        len: received.len,
        stride: received.segment,
        ecn: ecn.and_then(|ecn: Ecn| EcnCodepoint::from_bits(ecn as u8)),
        dst_ip: to,
    }
}

/// True if a datagram begins with an Initial packet of QUIC version 1 (RFC 9000, 17.2.2), of one of
/// its drafts, or of version 2 (RFC 9369, 3.2).
fn is_initial(datagram: &[u8]) -> bool {
    const LONG_HEADER: u8 = 0x80;
    let [first, version @ ..] = datagram else {
        return false;
    };
    let kind = first >> 4 & 3;
    let initial = match version.first_chunk() {
        Some([0, 0, 0, 1] | [0xff, 0, 0, _]) => 0,
        Some([0x6b, 0x33, 0x43, 0xcf]) => 1,
        _ => return false,
    };
    first & LONG_HEADER != 0 && kind == initial
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::{fd::OwnedFd, unix::net::UnixDatagram};

    /// A datagram without an IP sender cannot come by UDP: this is a Unix socket in the place of
    /// one.
    #[tokio::test]
    async fn a_datagram_of_nobody_is_empty_and_no_error_of_the_others() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (unix, peer) = UnixDatagram::pair().unwrap();
        unix.set_nonblocking(true).unwrap();
        let socket = MetaSocket {
            io: UdpSocket::from_std(OwnedFd::from(unix).into()).unwrap(),
            state: UdpSocketState::new((&udp).into()).unwrap(),
            peers: Mutex::new(Peers::new(1)),
        };
        for payload in [b"one", b"two"] {
            peer.send(payload).unwrap();
        }
        let mut buffers = [[7; 8]; 3];
        let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        let mut about = [RecvMeta {
            len: 7,
            ..RecvMeta::default()
        }; 3];
        assert_eq!(socket.receive(&mut slices, &mut about).unwrap(), 2);
        assert_eq!(about.map(|about| about.len)[..2], [0, 0]);
    }

    #[test]
    fn initial_packets_are_told_from_others() {
        for (bytes, initial) in [
            (&[0xc3, 0, 0, 0, 1, 8][..], true),
            (&[0xc0, 0xff, 0, 0, 29], true),
            (&[0xd0, 0x6b, 0x33, 0x43, 0xcf], true),
            (&[0xd0, 0, 0, 0, 1], false),             // 0-RTT
            (&[0xe0, 0, 0, 0, 1], false),             // Handshake
            (&[0xc0, 0x6b, 0x33, 0x43, 0xcf], false), // Retry
            (&[0xc0, 0, 0, 0, 0], false),             // Version Negotiation
            (&[0x43, 0, 0, 0, 1], false),             // short header
            (&[0xc0, 0, 0, 0], false),
            (&[], false),
        ] {
            assert_eq!(is_initial(bytes), initial, "{bytes:x?}");
        }
    }
}
