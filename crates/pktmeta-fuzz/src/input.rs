//! Arbitrary bytes, read as the choices that a harness has.

use pktmeta_core::Record;

/// Bytes that are left to choose by. Where there are none, the choice is 0.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// Up to `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.bytes(self.0.len())
    }

    /// The bytes of a carrier, up to `max`. Most of them start with a record's header.
    pub(crate) fn carrier(&mut self, max: usize) -> Vec<u8> {
        let (kind, size) = (self.byte(), usize::from(self.byte()));
        // More than a byte can say, now and then.
        let size = (size + 64 * usize::from(kind >> 6)).min(max);
        let mut bytes = self.bytes(size).to_vec();
        if kind & 1 == 0 {
            bytes.resize(size, 0);
        }
        if kind & 0x0e != 0
            && let [magic0, magic1, version, length, ..] = &mut *bytes
        {
            [*magic0, *magic1] = [Record::MAGIC[0], Record::MAGIC[1]];
            *version = *version & 0x0f | Record::MAGIC[2];
            if kind & 0x04 != 0 {
                *length = (*length).clamp(4, Record::CAPACITY.min(size) as u8);
            }
        }
        bytes
    }
}
