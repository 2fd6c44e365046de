//! Many datagrams in one system call.

use super::{
    arrival::Arrival,
    datagram::{Letter, Split, no_ip_sender, open},
    envelope::Envelope,
};
use crate::{Error, PacketMeta, host::datagrams::Records, net::message};
use std::{fmt, io, net::SocketAddr, os::fd::BorrowedFd};

/// Room for several datagrams, to be used again and again with
/// [`UdpMeta::recv_batch_meta`](crate::UdpMeta::recv_batch_meta).
///
/// ```no_run
/// # use pktmeta::{Batch, UdpMeta};
/// # let socket = std::net::UdpSocket::bind("[::]:5353")?;
/// let mut batch = Batch::new(64, 2048);
/// socket.recv_batch_meta(&mut batch)?;
/// for datagram in &batch {
///     println!("{} bytes from {}", datagram.data.len(), datagram.from);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Batch {
    payload: Vec<u8>,
    /// Bytes of `payload` for each message.
    each: usize,
    envelopes: Vec<Envelope>,
    headers: Headers,
    received: Vec<Message>,
    /// Their metadata. It is written in place, for records are large.
    metas: Vec<PacketMeta>,
    /// How many datagrams all messages hold.
    datagrams: usize,
}

/// A datagram in a [`Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Its payload, or the front of it.
    pub data: &'a [u8],
    /// The sender.
    pub from: SocketAddr,
    /// Its metadata.
    pub meta: Result<&'a PacketMeta, Error>,
    /// How it arrived, as far as the socket [asked](crate::UdpMeta::enable_arrival).
    pub arrival: Arrival,
    /// True if the payload was longer than the batch's room for one: the rest is lost, and so are
    /// the datagrams that were merged behind it.
    pub truncated: bool,
}

impl Batch {
    /// Room for so many `messages` of at most `bytes_each`. The kernel takes no more than 1024
    /// messages at a time. A message is a datagram, or as many as the kernel
    /// [merged](crate::UdpMeta::enable_gro), of 65,535 bytes at most.
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
            datagrams: 0,
        }
    }

    /// The datagrams that the last call received, in the order in which they arrived. Datagrams
    /// that the kernel merged are apart again.
    #[must_use]
    #[inline]
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams {
            batch: self,
            messages: 0,
            split: None,
            left: self.datagrams,
        }
    }

    /// How many datagrams the last call received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// True if the last call received nothing, or there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        self.datagrams = 0;
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
        let count = unsafe { message::receive_many(socket, messages)? };
        let mut records = Records::of(socket);
        for (at, message) in messages.iter().enumerate().take(count) {
            let (header, envelope) = (&message.msg_hdr, &self.envelopes[at]);
            let length = (message.msg_len as usize).min(self.each);
            let data = &self.payload[at * self.each..][..length];
            // Read the record at once: its slot is soon used again.
            let place = &mut self.metas[self.received.len()];
            // A message without an IP sender is no UDP datagram. The others are still received.
            if let Some(letter) = open(&mut records, envelope, header, data, place) {
                self.datagrams += Split::count(length, letter.segment);
                self.received.push(Message { at, length, letter });
            }
        }
        if self.received.is_empty() && count > 0 {
            return Err(no_ip_sender());
        }
        Ok(self.datagrams)
    }
}

/// The datagrams of a [`Batch`].
#[derive(Clone)]
pub struct Datagrams<'b> {
    batch: &'b Batch,
    /// How many messages were begun.
    messages: usize,
    /// The rest of the message that was begun last.
    split: Option<Split<'b>>,
    left: usize,
}

impl<'b> Datagrams<'b> {
    /// A message and its metadata.
    #[inline]
    fn message(&self, number: usize) -> Option<(&'b Message, &'b PacketMeta)> {
        let Batch {
            received, metas, ..
        } = self.batch;
        Some((received.get(number)?, metas.get(number)?))
    }
}

impl<'b> Iterator for Datagrams<'b> {
    type Item = Datagram<'b>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'b>> {
        let mut split = match self.split.take() {
            Some(split) => split,
            None => {
                let (message, _) = self.message(self.messages)?;
                self.messages += 1;
                let payload = &self.batch.payload[message.at * self.batch.each..];
                Split::new(&payload[..message.length], message.letter.segment)
            }
        };
        let data = split.next()?;
        let (Message { letter, .. }, meta) = self.message(self.messages - 1)?;
        let last = split.is_done();
        self.split = Some(split).filter(|_| !last);
        self.left -= 1;
        Some(Datagram {
            data,
            from: letter.from,
            meta: letter.read.clone().map(|()| meta),
            arrival: letter.arrival,
            truncated: letter.truncated && last,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Datagrams<'_> {}

impl<'b> IntoIterator for &'b Batch {
    type Item = Datagram<'b>;
    type IntoIter = Datagrams<'b>;

    fn into_iter(self) -> Datagrams<'b> {
        self.iter()
    }
}

impl fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A message that was received.
struct Message {
    /// Where its part of the payload starts.
    at: usize,
    length: usize,
    letter: Letter,
}

/// Message headers for the kernel: pointers into the rest of the batch, made anew for each call.
struct Headers {
    payloads: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: The pointers are used in `Batch::receive` only, which makes them.
unsafe impl Send for Headers {}
// SAFETY: As above; `Batch::receive` needs the batch for itself.
unsafe impl Sync for Headers {}
