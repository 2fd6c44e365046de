//! A message of the kernel: the metadata beside its payload, and the payload split into datagrams.

use super::{arrival::Arrival, envelope::Envelope};
use crate::{
    Error, PacketMeta,
    carrier::Tickets,
    host::datagrams::{Inbound, Records},
    net::{cmsg::ControlMessage, message},
};
use std::{
    io::{self, IoSliceMut},
    mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// A datagram that one call received, or several that the kernel merged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes of the buffer it filled.
    pub len: usize,
    /// The sender.
    pub from: SocketAddr,
    /// Its metadata.
    pub meta: Result<PacketMeta, Error>,
    /// How it arrived, as far as the socket [asked](crate::UdpMeta::enable_arrival).
    pub arrival: Arrival,
    /// True if the payload was longer than the buffer: the rest is lost.
    pub truncated: bool,
    /// The size of the datagram; of each datagram, if `UDP_GRO` merged several. The last one may be
    /// shorter.
    pub segment: usize,
}

impl Received {
    /// The datagrams in the buffer that was filled: one, unless the socket
    /// [lets](crate::UdpMeta::enable_gro) the kernel merge them. All have the same sender and the
    /// same metadata.
    pub fn datagrams<'b>(&self, buffer: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        Split::new(buffer.get(..self.len).unwrap_or(buffer), self.segment)
    }
}

/// Receives one datagram, or several that the kernel merged.
pub(crate) fn one(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut envelope = Envelope::new();
    let mut payload = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = envelope.header(&mut payload);
    // SAFETY: `header` points to `payload` and into `envelope`, `payload` to `buffer`; all live
    // and are ours to write to.
    let len = message::uninterrupted(|| unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) as i64
    })?;
    let mut meta = PacketMeta::none();
    let opened = open(
        &mut Records::of(socket),
        &envelope,
        &header,
        &buffer[..len],
        &mut meta,
    );
    let letter = opened.ok_or_else(no_ip_sender)?;
    Ok(letter.about(len, meta))
}

/// The most messages that [`into`] receives at once.
const MANY: usize = 32;

/// Receives into the caller's buffers, and calls `each` for those that hold a datagram.
pub(crate) fn into(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    each: &mut dyn FnMut(usize, &[u8], Received),
) -> io::Result<usize> {
    let mut envelopes = [const { Envelope::new() }; MANY];
    // SAFETY: Zeros are headers without buffers.
    let mut headers: [libc::mmsghdr; MANY] = unsafe { mem::zeroed() };
    let room = buffers.len().min(MANY);
    for ((header, envelope), buffer) in headers.iter_mut().zip(&mut envelopes).zip(&mut *buffers) {
        // SAFETY: `IoSliceMut` has the layout of an iovec, as the standard library promises.
        let payload = unsafe { &mut *ptr::from_mut(buffer).cast::<libc::iovec>() };
        header.msg_hdr = envelope.header(payload);
    }
    // SAFETY: The first `room` headers point to buffers of `buffers` and into `envelopes`, which
    // are ours to write to and live.
    let count = unsafe { message::receive_many(socket, &mut headers[..room])? };
    let mut records = Records::of(socket);
    for (at, header) in headers.iter().enumerate().take(count) {
        let len = (header.msg_len as usize).min(buffers[at].len());
        let data = &buffers[at][..len];
        let mut meta = PacketMeta::none();
        let letter = open(
            &mut records,
            &envelopes[at],
            &header.msg_hdr,
            data,
            &mut meta,
        );
        if let Some(letter) = letter {
            each(at, data, letter.about(len, meta));
        }
    }
    Ok(count)
}

/// Everything that came beside a payload.
pub(super) struct Letter {
    pub(super) from: SocketAddr,
    pub(super) arrival: Arrival,
    pub(super) truncated: bool,
    pub(super) segment: usize,
    /// Whether its metadata was read.
    pub(super) read: Result<(), Error>,
}

impl Letter {
    fn about(self, len: usize, meta: PacketMeta) -> Received {
        Received {
            len,
            from: self.from,
            meta: self.read.map(|()| meta),
            arrival: self.arrival,
            truncated: self.truncated,
            segment: self.segment,
        }
    }
}

/// Reads the messages beside a payload that was received, and its metadata into `to`, because
/// records are large. `None` if it has no IP sender.
#[inline]
pub(super) fn open(
    records: &mut Records<'_>,
    envelope: &Envelope,
    header: &libc::msghdr,
    data: &[u8],
    to: &mut PacketMeta,
) -> Option<Letter> {
    let from = envelope.sender(header)?;
    let mut tickets = Tickets::default();
    let mut arrival = Arrival::default();
    let mut segment = data.len();
    for message in ControlMessage::all(envelope.control(header)) {
        match (message.level, message.kind) {
            (libc::SOL_SOCKET, _) => tickets.note(&message),
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = message.number().and_then(|size| size.try_into().ok());
                segment = size.filter(|size| *size > 0).unwrap_or(segment);
            }
            _ => arrival.note(&message),
        }
    }
    let inbound = Inbound {
        tickets,
        from,
        data,
    };
    Some(Letter {
        from,
        arrival,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        segment,
        read: records.read(inbound, to),
    })
}

pub(super) fn no_ip_sender() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the message has no IP sender: this is not a UDP socket",
    )
}

/// The datagrams of a buffer; an empty buffer is one.
#[derive(Clone)]
pub(super) struct Split<'b> {
    rest: Option<&'b [u8]>,
    segment: usize,
}

impl<'b> Split<'b> {
    pub(super) fn new(payload: &'b [u8], segment: usize) -> Self {
        Self {
            rest: Some(payload),
            segment: segment.max(1),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_none()
    }

    /// How many datagrams a payload holds.
    pub(super) fn count(length: usize, segment: usize) -> usize {
        length.div_ceil(segment.max(1)).max(1)
    }
}

impl<'b> Iterator for Split<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        let (datagram, rest) = self
            .rest?
            .split_at_checked(self.segment)
            .unwrap_or((self.rest?, &[]));
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_buffer_is_split() {
        let split = |payload, segment| Split::new(payload, segment).collect::<Vec<_>>();
        assert_eq!(split(b"aabbc", 2), [&b"aa"[..], b"bb", b"c"]);
        assert_eq!(split(b"aabb", 2), [b"aa", b"bb"]);
        assert_eq!(split(b"aa", 2), [b"aa"]);
        assert_eq!(split(b"aa", 7), [b"aa"]);
        assert_eq!(split(b"", 0), [b""]);
        for (length, segment) in [(5, 2), (4, 2), (2, 2), (2, 7), (0, 0), (0, 7)] {
            let counted = Split::count(length, segment);
            let datagrams = Split::new(&[7; 5][..length], segment).count();
            assert_eq!(datagrams, counted, "{length} {segment}");
        }
    }
}
