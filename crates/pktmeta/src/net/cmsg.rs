//! Control messages: the kernel's `struct cmsghdr`, whatever libc's looks like.

/// A message beside the payload, from the kernel or to it.
pub(crate) struct ControlMessage<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl<'a> ControlMessage<'a> {
    /// The messages that `recvmsg` stored in `msg_control`, up to one that is not whole.
    pub(crate) fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (message, rest) = Self::split(bytes)?;
            bytes = rest;
            Some(message)
        })
    }

    /// Bytes before the data.
    pub(crate) const HEADER: usize = size_of::<usize>() + 8;

    /// The bytes that a message with so many bytes of data takes.
    pub(crate) const fn space(data: usize) -> usize {
        (Self::HEADER + data).next_multiple_of(size_of::<usize>())
    }

    /// Stores the message at the front of `bytes`, which has room for it, and returns the bytes
    /// that it takes.
    pub(crate) fn store(&self, bytes: &mut [u8]) -> usize {
        let length = Self::HEADER + self.data.len();
        let parts = [
            &length.to_ne_bytes()[..],
            &self.level.to_ne_bytes(),
            &self.kind.to_ne_bytes(),
            self.data,
        ];
        for (byte, stored) in parts.into_iter().flatten().zip(bytes) {
            *stored = *byte;
        }
        Self::space(self.data.len())
    }

    /// Its data as an `int`, which the kernel stores in host order.
    pub(crate) fn number(&self) -> Option<i32> {
        let bytes = self.data.first_chunk()?;
        Some(i32::from_ne_bytes(*bytes))
    }

    /// The first message and what follows it: a `size_t` with the length of header and data, level,
    /// type.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, after) = bytes.split_first_chunk()?;
        let (level, after) = after.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let length = usize::from_ne_bytes(*length);
        let header = bytes.len() - after.len();
        let message = Self {
            level: i32::from_ne_bytes(*level),
            kind: i32::from_ne_bytes(*kind),
            data: bytes.get(header..length)?,
        };
        let next = length.next_multiple_of(size_of::<usize>());
        Some((message, bytes.get(next..).unwrap_or_default()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message as the kernel stores it, with padding.
    pub(crate) fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let message = ControlMessage { level, kind, data };
        let mut bytes = vec![0xee; ControlMessage::space(data.len())];
        message.store(&mut bytes);
        bytes
    }

    #[test]
    fn messages_follow_each_other() {
        let bytes = [
            message(1, 2, &[3]),
            message(4, 5, &[]),
            message(6, 7, &[8; 9]),
        ]
        .concat();
        let all: Vec<_> = ControlMessage::all(&bytes)
            .map(|message| (message.level, message.kind, message.data))
            .collect();
        let expected: [(i32, i32, &[u8]); 3] = [(1, 2, &[3]), (4, 5, &[]), (6, 7, &[8; 9])];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_message_cut_short_is_none() {
        let bytes = message(1, 2, &[3; 4]);
        let whole = ControlMessage::HEADER + 4;
        for end in 0..whole {
            assert_eq!(ControlMessage::all(&bytes[..end]).count(), 0, "{end}");
        }
        assert_eq!(
            ControlMessage::all(&bytes[..whole]).count(),
            1,
            "padding may be missing"
        );
    }
}
