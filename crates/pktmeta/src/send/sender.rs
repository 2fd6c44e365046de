//! Sending datagrams that have a record each.

use super::{outbound::Outbound, record, tickets::TxTickets};
use crate::{
    Error,
    backend::Backend,
    carrier::{TxCarrier, TxTicket},
    host::datapath,
    meta::NO_FIELDS,
    net::{message, sockopt},
};
use pktmeta_core::{ToRecord, abi};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::{Mutex, PoisonError},
};

/// A UDP socket that labels each datagram it sends.
///
/// Programs at cgroup_skb and TC egress read the record, in place of the one that
/// [`SendMeta`](crate::SendMeta) set for the socket. A datagram with no values, `&()`, has the
/// record of the socket.
///
/// Needs a datapath, and fields that applications may write; no privileges. The socket remembers
/// the last 32 different records: sending costs one `sendmsg`, one `setsockopt` more for a record
/// that is not among them, and one `getsockopt` more where the process may not map the datapath's
/// ring. Nothing is allocated.
///
/// Make one for a socket, and share it: from `&UdpSocket`, `Arc<UdpSocket>`, or the socket
/// itself. Two senders for one socket push each other's records out.
///
/// ```no_run
/// use pktmeta::{Field, MetaSender};
/// use std::net::UdpSocket;
///
/// const TRACE_ID: Field<u64> = Field::new("trace_id");
///
/// let sender = MetaSender::new(UdpSocket::bind("[::]:0")?)?;
/// let to = "[2001:db8::1]:4433".parse()?;
/// sender.send_to(b"hello", to, &TRACE_ID.with(7))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MetaSender<S> {
    socket: S,
    carrier: TxCarrier,
    tickets: Mutex<TxTickets>,
}

/// A datagram for [`MetaSender::send_batch`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Outgoing<'a> {
    /// Its payload.
    pub data: &'a [u8],
    /// The receiver.
    pub to: SocketAddr,
    /// The address of this host that it is sent from; `None` leaves the choice to the kernel.
    pub from: Option<IpAddr>,
    /// The values of its record.
    pub meta: &'a (dyn ToRecord + Sync),
}

impl<'a> Outgoing<'a> {
    /// A datagram with this payload and these values.
    #[must_use]
    pub fn new(data: &'a [u8], to: SocketAddr, meta: &'a (dyn ToRecord + Sync)) -> Self {
        Self {
            data,
            to,
            from: None,
            meta,
        }
    }

    /// The same datagram with these values.
    #[must_use]
    pub fn with(self, meta: &'a (dyn ToRecord + Sync)) -> Self {
        Self { meta, ..self }
    }

    /// Sends it from this address of the host: a server with several answers from
    /// [`Arrival::local`](crate::Arrival::local).
    #[must_use]
    pub fn from(self, from: Option<IpAddr>) -> Self {
        Self { from, ..self }
    }
}

impl<S: AsFd> MetaSender<S> {
    /// Prepares a socket: its tickets travel in the `SO_MARK` of its datagrams if this process may
    /// set that (`CAP_NET_RAW` or `CAP_NET_ADMIN`), else in a time to send that is long past, by
    /// `SO_TXTIME`.
    ///
    /// It needs no datapath yet: sending is the error if a datagram cannot be labelled, and
    /// datagrams without values are sent in any case.
    ///
    /// # Errors
    /// [`Error::Io`] if this is no socket, or the kernel refuses `SO_TXTIME`.
    pub fn new(socket: S) -> Result<Self, Error> {
        Ok(Self {
            carrier: prepare(socket.as_fd())?,
            tickets: Mutex::new(TxTickets::new()),
            socket,
        })
    }

    /// Sends a datagram with these values, like `std::net::UdpSocket::send_to`.
    ///
    /// # Errors
    /// Those of `sendmsg`, except `EINTR`. If the datagram cannot be labelled, it is not sent, and
    /// the error has a [`crate::Error`] in it, like those of
    /// [`SendMeta::set_packet_meta`](crate::SendMeta::set_packet_meta).
    pub fn send_to<R: ToRecord + ?Sized>(
        &self,
        data: &[u8],
        to: SocketAddr,
        values: &R,
    ) -> io::Result<usize> {
        self.send_one(data, Some(to), values)
    }

    /// The same on a connected socket, like `std::net::UdpSocket::send`.
    ///
    /// # Errors
    /// As [`MetaSender::send_to`].
    pub fn send<R: ToRecord + ?Sized>(&self, data: &[u8], values: &R) -> io::Result<usize> {
        self.send_one(data, None, values)
    }

    /// Sends datagrams in their order, up to 32 with one `sendmmsg`, and returns how many were
    /// sent.
    ///
    /// # Errors
    /// As [`MetaSender::send_to`], if the first cannot be sent. If a later one cannot, those before
    /// it are counted.
    pub fn send_batch(&self, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut sent = 0;
        for chunk in datagrams.chunks(CHUNK) {
            match self.send_chunk(chunk) {
                Ok(count) => sent += count,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
            if sent % CHUNK != 0 {
                break;
            }
        }
        Ok(sent)
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The socket, which remembers its records but sends none of them by itself.
    pub fn into_inner(self) -> S {
        self.socket
    }

    fn send_one<R: ToRecord + ?Sized>(
        &self,
        data: &[u8],
        to: Option<SocketAddr>,
        values: &R,
    ) -> io::Result<usize> {
        let socket = self.socket.as_fd();
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = ticket(socket, &mut tickets, values)?;
        let mut outbound =
            Outbound::new(data, to, None, ticket.map(|ticket| (self.carrier, ticket)));
        let header = outbound.header();
        // SAFETY: `header` points into `outbound`, and that to `data`, which is only read.
        let sent = message::uninterrupted(|| unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) as i64
        })?;
        Backend::of(socket).sent(socket, to, ticket);
        Ok(sent)
    }

    fn send_chunk(&self, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
        let socket = self.socket.as_fd();
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut labels = [None; CHUNK];
        let mut ready = 0;
        for (datagram, label) in datagrams.iter().zip(&mut labels) {
            match ticket(socket, &mut tickets, datagram.meta) {
                Ok(ticket) => *label = ticket,
                Err(error) if ready == 0 => return Err(error.into()),
                Err(_) => break,
            }
            ready += 1;
        }
        let mut outbound = [const { Outbound::EMPTY }; CHUNK];
        // SAFETY: Zeros are headers without buffers.
        let mut headers: [libc::mmsghdr; CHUNK] = unsafe { std::mem::zeroed() };
        for (at, datagram) in datagrams[..ready].iter().enumerate() {
            let ticket = labels[at].map(|ticket| (self.carrier, ticket));
            outbound[at] = Outbound::new(datagram.data, Some(datagram.to), datagram.from, ticket);
            headers[at].msg_hdr = outbound[at].header();
        }
        // SAFETY: The first `ready` headers point into `outbound`, and that to the payloads, which
        // are only read.
        let sent = message::uninterrupted(|| unsafe {
            i64::from(libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                ready as libc::c_uint,
                0,
            ))
        })?;
        let backend = Backend::of(socket);
        for (datagram, ticket) in datagrams.iter().zip(labels).take(sent) {
            backend.sent(socket, Some(datagram.to), ticket);
        }
        Ok(sent)
    }
}

impl<S: AsFd> AsFd for MetaSender<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for MetaSender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetaSender").field(&self.socket).finish()
    }
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes to {}", self.data.len(), self.to)
    }
}

/// As many as a socket remembers records: none of a chunk pushes out another's.
const CHUNK: usize = abi::TX_SLOTS as usize;

/// The carrier that this process may use on a socket, which is prepared for it.
fn prepare(socket: BorrowedFd<'_>) -> Result<TxCarrier, Error> {
    // Setting the mark that the socket has needs the same capability as sending with a mark:
    // `sk_set_mark` and `__sock_cmsg_send` in net/core/sock.c.
    let mark = sockopt::get_number(socket, libc::SOL_SOCKET, libc::SO_MARK)
        .and_then(|mark| sockopt::set_number(socket, libc::SOL_SOCKET, libc::SO_MARK, mark));
    if mark.is_ok() {
        return Ok(TxCarrier::Mark);
    }
    let [clock, flags] = [libc::CLOCK_MONOTONIC.to_ne_bytes(), 0u32.to_ne_bytes()];
    let txtime = [clock, flags].concat();
    sockopt::set_option(socket, libc::SOL_SOCKET, libc::SO_TXTIME, &txtime)
        .map_err(Error::io("send tickets as times (SO_TXTIME)"))?;
    Ok(TxCarrier::Time)
}

/// The ticket under which the socket remembers these values; `None` if there are no values.
fn ticket<R: ToRecord + ?Sized>(
    socket: BorrowedFd<'_>,
    tickets: &mut TxTickets,
    values: &R,
) -> Result<Option<TxTicket>, Error> {
    let ticket = datapath::by_numbers(socket, |instance, registry| {
        let record = values.to_record(registry)?;
        if record.is_empty() {
            return Ok(None);
        }
        let ticket = tickets.of_instance(instance).ticket(&record, |ticket| {
            let name = ticket.get() as i32;
            record::tell(socket, abi::SOL_PKTMETA_DGRAM, name, &record, registry)
        });
        ticket.map(Some)
    });
    match ticket {
        // A datagram without values needs no datapath.
        Err(Error::Unavailable(_)) if is_nothing(values) => Ok(None),
        ticket => ticket,
    }
}

/// True if there are no values, whatever fields a host has.
fn is_nothing<R: ToRecord + ?Sized>(values: &R) -> bool {
    let record = values.to_record(&NO_FIELDS);
    record.is_ok_and(|record| record.is_empty())
}
