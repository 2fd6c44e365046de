//! UDP datagrams, many in one system call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Error};
use crate::{Result, sys};

/// Most datagrams in one system call.
const MAX_BATCH: usize = 64;

/// Most payload of a datagram that both IPv4 and IPv6 carry, in bytes.
const MAX_PAYLOAD: usize = 65507;

/// How long to wait for a receiver or a device that makes no progress.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// How long to leave a device alone whose queue is full.
const BACK_OFF: Duration = Duration::from_micros(50);

/// What a [`UdpSender`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpReport {
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// From the first to the last.
    pub elapsed: Duration,
}

/// Sends UDP datagrams to one address.
///
/// ```no_run
/// use pktmeta_testkit::traffic::UdpSender;
///
/// let report = UdpSender::new("192.0.2.2:53".parse().unwrap())
///     .count(100_000)
///     .payload_len(64)
///     .packets_per_second(50_000)
///     .run(|seq, payload| payload[..8].copy_from_slice(&seq.to_be_bytes()))?;
/// println!("{} datagrams in {:?}", report.sent, report.elapsed);
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until run() is called"]
pub struct UdpSender<'a> {
    to: SocketAddr,
    count: u64,
    batch: usize,
    payload_len: usize,
    pace: Pace<'a>,
}

#[derive(Debug, Clone)]
enum Pace<'a> {
    Unlimited,
    PerSecond(u64),
    InFlight { max: u64, received: &'a AtomicU64 },
}

impl<'a> UdpSender<'a> {
    /// One datagram without payload, unless told otherwise.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            count: 1,
            batch: 32,
            payload_len: 0,
            pace: Pace::Unlimited,
        }
    }

    /// How many datagrams to send.
    pub fn count(mut self, datagrams: u64) -> Self {
        self.count = datagrams;
        self
    }

    /// How many datagrams at most go into one system call: 1 to 64, 32 by default.
    pub fn batch(mut self, datagrams: usize) -> Self {
        self.batch = datagrams;
        self
    }

    /// Bytes of payload in each datagram: at most 65507.
    pub fn payload_len(mut self, bytes: usize) -> Self {
        self.payload_len = bytes;
        self
    }

    /// Sends no faster than this, on average. Replaces other pacing.
    pub fn packets_per_second(mut self, rate: u64) -> Self {
        self.pace = Pace::PerSecond(rate);
        self
    }

    /// Never has more than `max` datagrams on the way. The receiver counts what it got in
    /// `received`, from zero. With a `max` below what its socket buffer holds, nothing is lost.
    /// Replaces other pacing.
    pub fn in_flight(mut self, max: u64, received: &'a AtomicU64) -> Self {
        self.pace = Pace::InFlight { max, received };
        self
    }

    /// Sends from a socket of its own. The closure gets the number of each datagram, from 0, and
    /// its payload to fill, which holds what an earlier datagram had.
    ///
    /// # Errors
    /// A number is out of its range, the kernel refuses to send, or for 5 seconds nothing moved:
    /// the device does not send, or with [`in_flight`](Self::in_flight) the receiver does not
    /// count.
    pub fn run(&self, fill: impl FnMut(u64, &mut [u8])) -> Result<UdpReport> {
        let any: IpAddr = match self.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))
            .context(|| format!("cannot make a socket to send to {}", self.to))?;
        self.run_on(&socket, fill)
    }

    /// As [`run`](Self::run), from a socket of the caller, of the same address family. It may be
    /// bound or have options set, but it should not be connected elsewhere.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_on(
        &self,
        socket: &UdpSocket,
        mut fill: impl FnMut(u64, &mut [u8]),
    ) -> Result<UdpReport> {
        self.check()?;
        let mut batch = Batch::new(self.to, self.batch, self.payload_len);
        let started = Instant::now();
        let mut sent = 0;
        while sent < self.count {
            let due = self.wait_for_turn(sent, started)?;
            let size = due.min(self.count - sent).min(self.batch as u64) as usize;
            batch.fill(size, sent, &mut fill);
            batch.send(socket, size).map_err(|error| {
                let total = self.count;
                error.context(format!(
                    "stopped sending UDP to {} after {sent} of {total} datagrams",
                    self.to
                ))
            })?;
            sent += size as u64;
        }
        Ok(UdpReport {
            sent,
            elapsed: started.elapsed(),
        })
    }

    fn check(&self) -> Result<()> {
        let zero_pace = matches!(
            self.pace,
            Pace::PerSecond(0) | Pace::InFlight { max: 0, .. }
        );
        let problem = if !(1..=MAX_BATCH).contains(&self.batch) {
            format!(
                "a batch of {} datagrams is not between 1 and {MAX_BATCH}",
                self.batch
            )
        } else if self.payload_len > MAX_PAYLOAD {
            format!(
                "a payload of {} bytes is longer than a datagram can be, {MAX_PAYLOAD}",
                self.payload_len
            )
        } else if zero_pace {
            "a pace of zero would never send anything".into()
        } else {
            return Ok(());
        };
        Err(Error::new(format!(
            "cannot send UDP to {}: {problem}",
            self.to
        )))
    }

    /// Waits until at least one datagram may be sent, and says how many may.
    fn wait_for_turn(&self, sent: u64, started: Instant) -> Result<u64> {
        match self.pace {
            Pace::Unlimited => Ok(u64::MAX),
            Pace::PerSecond(rate) => loop {
                // The first is due at once.
                let due = 1 + (started.elapsed().as_secs_f64() * rate as f64) as u64;
                if due > sent {
                    return Ok(due - sent);
                }
                let wait = (sent + 1 - due) as f64 / rate as f64;
                thread::sleep(Duration::from_secs_f64(wait.min(1.0)));
            },
            Pace::InFlight { max, received } => self.wait_for_receiver(sent, max, received),
        }
    }

    fn wait_for_receiver(&self, sent: u64, max: u64, received: &AtomicU64) -> Result<u64> {
        let mut before = received.load(Ordering::Acquire);
        let mut moved = Instant::now();
        loop {
            let now = received.load(Ordering::Acquire);
            let free = max.saturating_sub(sent.saturating_sub(now));
            if free > 0 {
                return Ok(free);
            }
            if now != before {
                (before, moved) = (now, Instant::now());
            } else if moved.elapsed() >= STALL_LIMIT {
                return Err(Error::new(format!(
                    "stopped sending UDP to {}: {sent} datagrams are sent, {now} are received, and \
                     nothing came for {STALL_LIMIT:?}; were datagrams dropped?",
                    self.to
                )));
            }
            thread::yield_now();
        }
    }
}

/// Payloads side by side in one buffer, all to one address.
struct Batch {
    address: libc::sockaddr_storage,
    address_len: libc::socklen_t,
    payload_len: usize,
    payloads: Vec<u8>,
}

impl Batch {
    fn new(to: SocketAddr, size: usize, payload_len: usize) -> Self {
        let (address, address_len) = encode_address(to);
        Self {
            address,
            address_len,
            payload_len,
            payloads: vec![0; size * payload_len],
        }
    }

    fn fill(&mut self, size: usize, first: u64, fill: &mut impl FnMut(u64, &mut [u8])) {
        let len = self.payload_len;
        for (seq, n) in (first..).zip(0..size) {
            fill(seq, &mut self.payloads[n * len..(n + 1) * len]);
        }
    }

    /// Sends the first `size` payloads, all of them.
    fn send(&mut self, socket: &UdpSocket, size: usize) -> Result<()> {
        let len = self.payload_len;
        let base = self.payloads.as_mut_ptr();
        // SAFETY: all zeroes is a valid iovec and a valid mmsghdr: null pointers of length zero.
        let (mut vectors, mut messages): ([libc::iovec; MAX_BATCH], [libc::mmsghdr; MAX_BATCH]) =
            unsafe { std::mem::zeroed() };
        for (n, (vector, message)) in vectors.iter_mut().zip(&mut messages).take(size).enumerate() {
            // wrapping_add: in bounds, as `payloads` has `size` times `len` bytes or more.
            *vector = libc::iovec {
                iov_base: base.wrapping_add(n * len).cast(),
                iov_len: len,
            };
            message.msg_hdr.msg_name = (&raw mut self.address).cast();
            message.msg_hdr.msg_namelen = self.address_len;
            message.msg_hdr.msg_iov = ptr::from_mut(vector);
            message.msg_hdr.msg_iovlen = 1;
        }
        let mut done = 0;
        let mut moved = Instant::now();
        while done < size {
            let rest = &mut messages[done..size];
            // SAFETY: every message in `rest` points to an address, one vector and a payload, all
            // of which outlive the call; the kernel writes to `msg_len` of the messages only.
            let sent = sys::check(unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    0,
                )
            });
            match sent {
                Ok(sent) => {
                    done += sent as usize;
                    moved = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) && moved.elapsed() < STALL_LIMIT => {
                    wait_for_room(socket)?
                }
                Err(error) => {
                    return Err(Error::with_source("the kernel refused a datagram", error));
                }
            }
        }
        Ok(())
    }
}

/// The queue of the socket, or that of the device.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

fn wait_for_room(socket: &UdpSocket) -> Result<()> {
    // The socket says when it has room, the device does not.
    thread::sleep(BACK_OFF);
    sys::poll(socket.as_fd(), libc::POLLOUT, STALL_LIMIT)
        .map(drop)
        .context(|| "cannot wait until the socket has room".into())
}

fn encode_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let len = match address {
        SocketAddr::V4(v4) => {
            let encoded = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large and aligned enough for every socket address.
            unsafe {
                (&raw mut storage)
                    .cast::<libc::sockaddr_in>()
                    .write(encoded)
            };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let encoded = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: sockaddr_storage is large and aligned enough for every socket address.
            unsafe {
                (&raw mut storage)
                    .cast::<libc::sockaddr_in6>()
                    .write(encoded)
            };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_is_filled_once_and_arrives_in_order() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(any).unwrap();
            let received = AtomicU64::new(0);
            let to = receiver.local_addr().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for expected in 0..1000_u64 {
                        let mut payload = [0; 16];
                        assert_eq!(receiver.recv(&mut payload).unwrap(), 8);
                        assert_eq!(payload[..8], expected.to_be_bytes());
                        received.fetch_add(1, Ordering::Release);
                    }
                });
                let sender = UdpSender::new(to)
                    .count(1000)
                    .batch(64)
                    .payload_len(8)
                    .in_flight(100, &received);
                let report = sender
                    .run(|seq, payload| payload.copy_from_slice(&seq.to_be_bytes()))
                    .unwrap();
                assert_eq!(report.sent, 1000);
            });
        }
    }

    #[test]
    fn a_pace_is_kept() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSender::new(receiver.local_addr().unwrap())
            .count(51)
            .packets_per_second(1000);
        let elapsed = sender.run(|_, _| {}).unwrap().elapsed;
        assert!(elapsed >= Duration::from_millis(49), "{elapsed:?}");
    }

    #[test]
    fn numbers_out_of_range_are_refused_before_anything_is_sent() {
        let to = "127.0.0.1:9".parse().unwrap();
        let received = AtomicU64::new(0);
        for sender in [
            UdpSender::new(to).batch(0),
            UdpSender::new(to).batch(65),
            UdpSender::new(to).payload_len(65508),
            UdpSender::new(to).packets_per_second(0),
            UdpSender::new(to).in_flight(0, &received),
        ] {
            assert!(
                sender.run(|_, _| panic!("filled a payload")).is_err(),
                "{sender:?}"
            );
        }
    }
}
