//! Many datagrams in one system call.

use crate::{
    Error, PacketMeta,
    datagrams::{Datagrams, Inbound},
    message::Envelope,
    sys,
};
use std::{fmt, io, net::SocketAddr, os::fd::BorrowedFd};

/// Room for several datagrams, to be used again and again with
/// [`UdpMeta::recv_batch_meta`](crate::UdpMeta::recv_batch_meta).
pub struct Batch {
    payload: Vec<u8>,
    /// Bytes of `payload` for each datagram.
    each: usize,
    envelopes: Vec<Envelope>,
    headers: Headers,
    received: Vec<Received>,
    /// What was said about them. Written where it stays: records are large.
    metas: Vec<PacketMeta>,
}

/// A datagram in a [`Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Its payload, or the front of it.
    pub data: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// What was said about it.
    pub meta: Result<&'a PacketMeta, Error>,
    /// True if the payload was longer than the batch has room for each; the rest is lost.
    pub truncated: bool,
}

impl Batch {
    /// Room for so many `messages` of at most `bytes_each`. The kernel takes no more than 1024
    /// messages at a time.
    ///
    /// # Panics
    /// If there is no such amount of memory, like `Vec::with_capacity`.
    #[must_use]
    pub fn new(messages: usize, bytes_each: usize) -> Self {
        Self {
            payload: vec![0; messages.saturating_mul(bytes_each)],
            each: bytes_each,
            envelopes: vec![Envelope::new(); messages],
            headers: Headers {
                payloads: Vec::with_capacity(messages),
                messages: Vec::with_capacity(messages),
            },
            received: Vec::with_capacity(messages),
            metas: vec![PacketMeta::none(); messages],
        }
    }

    /// The datagrams that the last call received, in the order in which they arrived.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        let received = self.received.iter().zip(&self.metas).enumerate();
        received.map(|(at, (received, meta))| Datagram {
            data: &self.payload[at * self.each..][..received.length],
            from: received.from,
            meta: received.read.clone().map(|()| meta),
            truncated: received.truncated,
        })
    }

    /// How many datagrams the last call received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// True if the last call received nothing, or there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        let Headers { payloads, messages } = &mut self.headers;
        payloads.clear();
        messages.clear();
        let mut rest = self.payload.as_mut_slice();
        for _ in &self.envelopes {
            let (payload, after) = rest.split_at_mut(self.each);
            rest = after;
            payloads.push(libc::iovec {
                iov_base: payload.as_mut_ptr().cast(),
                iov_len: payload.len(),
            });
        }
        for (envelope, payload) in self.envelopes.iter_mut().zip(payloads) {
            messages.push(libc::mmsghdr {
                msg_hdr: envelope.header(payload),
                msg_len: 0,
            });
        }
        // SAFETY: Each header points to its iovec and into its envelope, the iovec to its part of
        // the payload; all are ours, live, and stay where they are until the call returns.
        let count = unsafe { sys::receive_many(socket, messages)? };
        let mut datagrams = Datagrams::of(socket);
        for (at, message) in messages.iter().enumerate().take(count) {
            let (header, envelope) = (&message.msg_hdr, &self.envelopes[at]);
            let from = envelope.sender(header).inspect_err(|_| {
                self.received.clear();
            })?;
            let length = (message.msg_len as usize).min(self.each);
            // At once, while the record is still there.
            let datagram = Inbound {
                control: envelope.control(header),
                from,
                data: &self.payload[at * self.each..][..length],
            };
            let read = datagrams.read(&datagram, &mut self.metas[at]);
            self.received.push(Received {
                length,
                from,
                read,
                truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(count)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What is known of a datagram beside its payload.
struct Received {
    length: usize,
    from: SocketAddr,
    /// Why what was said about it was not read, if so.
    read: Result<(), Error>,
    truncated: bool,
}

/// What the kernel is given: pointers into the rest of the batch, made anew for each call.
struct Headers {
    payloads: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: The pointers are used in `Batch::receive` only, which makes them.
unsafe impl Send for Headers {}
// SAFETY: As above; `Batch::receive` needs the batch for itself.
unsafe impl Sync for Headers {}
