//! What was said about the datagrams of QUIC connections (feature `quinn`).
//!
//! ```no_run
//! use pktmeta::{Field, UdpMeta, quinn::MetaSocket};
//! use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
//! use std::{net::UdpSocket, sync::Arc};
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! # async fn serve(config: ServerConfig, endpoint_config: EndpointConfig) -> Result<(), Box<dyn std::error::Error>> {
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

mod peers;

use crate::{
    Error, PacketMeta,
    datagrams::{Datagrams, Inbound},
    message::{ControlMessage, Envelope},
    sys,
};
use ::quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState},
};
use ::tokio::{io::Interest, net::UdpSocket};
use peers::Peers;
use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

/// A UDP socket for a quinn endpoint, which remembers what was said about the datagrams of its peers.
///
/// It does what quinn's own socket on tokio does: GSO and GRO, ECN, and the address that a datagram was sent
/// to. What the endpoint sends is labelled by [`SendMeta`](crate::SendMeta), for all of its
/// connections alike.
///
/// Peers are known by their addresses, since the socket knows nothing of connections: two connections from
/// one address share what is remembered, and a connection that moves begins anew with its new
/// address (`Connection::remote_address`). Anybody can send from any address: do not take a record for
/// more than what was said about a *datagram* before the handshake is done.
pub struct MetaSocket {
    io: UdpSocket,
    state: UdpSocketState,
    peers: Mutex<Peers>,
}

impl MetaSocket {
    /// Takes over a socket that was [enabled](crate::UdpMeta::enable_packet_meta), before or after it was bound.
    /// One that was not works as well, and all its metadata are errors.
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

    /// The metadata of the latest datagram with an Initial packet that came from `remote`: with that it
    /// began its connection, or went on with the handshake. `None` if there was none, or so
    /// many other peers sent something since that it was forgotten.
    #[must_use]
    pub fn initial_meta(&self, remote: SocketAddr) -> Option<Result<PacketMeta, Error>> {
        self.peers().get(remote)?.initial.clone()
    }

    /// The metadata of the latest datagram that came from `remote`. `None` as above.
    #[must_use]
    pub fn latest_meta(&self, remote: SocketAddr) -> Option<Result<PacketMeta, Error>> {
        Some(self.peers().get(remote)?.latest.clone())
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>], received: &mut [RecvMeta]) -> io::Result<usize> {
        let mut envelopes = [const { Envelope::new() }; BATCH_SIZE];
        // SAFETY: Zeros are headers without buffers.
        let mut headers: [libc::mmsghdr; BATCH_SIZE] = unsafe { std::mem::zeroed() };
        let room = bufs.len().min(received.len()).min(BATCH_SIZE);
        for ((header, envelope), buf) in headers.iter_mut().zip(&mut envelopes).zip(&mut *bufs) {
            // SAFETY: `IoSliceMut` has the layout of an iovec, as the standard library promises.
            let payload = unsafe { &mut *std::ptr::from_mut(buf).cast::<libc::iovec>() };
            header.msg_hdr = envelope.header(payload);
        }
        // SAFETY: The first `room` headers point to buffers of `bufs` and into `envelopes`, which are ours
        // to write to and live.
        let count = unsafe { sys::receive_many(self.as_fd(), &mut headers[..room])? };
        let mut datagrams = Datagrams::of(self.as_fd());
        let mut peers = self.peers();
        for at in 0..count {
            let (header, envelope) = (&headers[at].msg_hdr, &envelopes[at]);
            let data = &bufs[at][..(headers[at].msg_len as usize).min(bufs[at].len())];
            let inbound = Inbound {
                control: envelope.control(header),
                from: envelope.sender(header)?,
                data,
            };
            let meta = datagrams.meta(&inbound);
            received[at] = describe(&inbound);
            let initial = data.chunks(received[at].stride.max(1)).any(is_initial);
            peers.note(inbound.from, initial, meta);
        }
        Ok(count)
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
                // Not ready after all: to be waited for again.
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

/// What quinn wants to know of what was received.
fn describe(inbound: &Inbound<'_>) -> RecvMeta {
    let mut about = RecvMeta {
        addr: inbound.from,
        len: inbound.data.len(),
        stride: inbound.data.len(),
        ..RecvMeta::default()
    };
    for message in ControlMessage::all(inbound.control) {
        let number = || {
            message
                .data
                .first_chunk()
                .map(|bytes| i32::from_ne_bytes(*bytes))
        };
        match (message.level, message.kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                about.ecn = message
                    .data
                    .first()
                    .copied()
                    .and_then(EcnCodepoint::from_bits);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                about.ecn = number().and_then(|class| EcnCodepoint::from_bits(class as u8));
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => about.dst_ip = ipv4_destination(message.data),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = message.data.first_chunk::<16>();
                about.dst_ip = address.map(|address| Ipv6Addr::from(*address).into());
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = number().and_then(|size| usize::try_from(size).ok());
                about.stride = size.filter(|size| *size > 0).unwrap_or(about.len);
            }
            _ => {}
        }
    }
    about
}

/// The header's destination in a `struct in_pktinfo`: it comes after the interface and the address to
/// answer from.
fn ipv4_destination(info: &[u8]) -> Option<IpAddr> {
    let address = info.get(8..)?.first_chunk::<4>()?;
    Some(Ipv4Addr::from(*address).into())
}

/// True if a datagram begins with an Initial packet of QUIC version 1 (RFC 9000, 17.2.2), of one of its
/// drafts, or of version 2 (RFC 9369, 3.2).
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

    #[test]
    fn what_the_kernel_says_is_what_quinn_is_told() {
        let message = |level: i32, kind: i32, data: &[u8]| {
            let length = size_of::<usize>() + 8 + data.len();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(level.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(data);
            bytes.resize(length.next_multiple_of(size_of::<usize>()), 0);
            bytes
        };
        let from = "192.0.2.1:4433".parse().unwrap();
        let told = |control: &[u8]| {
            describe(&Inbound {
                control,
                from,
                data: &[0; 3000],
            })
        };
        let plain = told(&[]);
        assert_eq!((plain.addr, plain.len, plain.stride), (from, 3000, 3000));
        assert_eq!((plain.ecn, plain.dst_ip), (None, None));
        let v4 = [
            message(libc::IPPROTO_IP, libc::IP_TOS, &[1]),
            message(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                &[9, 9, 9, 9, 8, 8, 8, 8, 192, 0, 2, 7],
            ),
            message(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes()),
        ];
        let v4 = told(&v4.concat());
        assert_eq!(v4.stride, 1200);
        assert_eq!(v4.ecn, Some(EcnCodepoint::Ect1));
        assert_eq!(v4.dst_ip, Some(Ipv4Addr::new(192, 0, 2, 7).into()));
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let v6 = [
            message(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &3i32.to_ne_bytes()),
            message(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                &[&address.octets()[..], &[0; 4]].concat(),
            ),
            message(libc::SOL_UDP, libc::UDP_GRO, &0i32.to_ne_bytes()),
        ];
        let v6 = told(&v6.concat());
        assert_eq!(v6.ecn, Some(EcnCodepoint::Ce));
        assert_eq!(v6.dst_ip, Some(address.into()));
        assert_eq!(v6.stride, 3000, "no stride is of no bytes");
    }
}
