//! Tags: the bytes by which a record names a field.

use core::{fmt, num::NonZeroU8};

/// The number by which a record names a field, 1 to 63; 0 marks a void. The registry of the host
/// hands them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvType(NonZeroU8);

impl TlvType {
    /// The highest number.
    pub const MAX: u8 = 63;

    /// The lowest number.
    pub const FIRST: Self = Self(NonZeroU8::MIN);

    /// The type numbered `number`; `None` for 0, and beyond [`TlvType::MAX`].
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for TlvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first byte of a TLV: the type below, and above it, in two bits, a code for the value's size.
/// Codes 1, 2 and 3 stand for 2, 4 and 8 bytes; 0 says that the size is in the byte that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(NonZeroU8);

impl Tag {
    pub(super) const SIZE_CODE_AT: u32 = 6;

    /// The tag of a field whose values all have this size in bytes.
    #[must_use]
    #[inline]
    pub const fn fixed(tlv: TlvType, size: u8) -> Self {
        let code = match size {
            2 | 4 | 8 => size.ilog2() as u8,
            _ => 0,
        };
        match NonZeroU8::new(tlv.get() | code << Self::SIZE_CODE_AT) {
            Some(byte) => Self(byte),
            None => Self::sized(tlv),
        }
    }

    /// The tag of a field whose values say their sizes.
    #[must_use]
    #[inline]
    pub const fn sized(tlv: TlvType) -> Self {
        Self(tlv.0)
    }

    /// The tag that is this byte; `None` if it is a void's.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match NonZeroU8::new(byte) {
            Some(tag) if byte & TlvType::MAX != 0 => Some(Self(tag)),
            _ => None,
        }
    }

    /// The byte.
    #[must_use]
    #[inline]
    pub const fn byte(self) -> u8 {
        self.0.get()
    }

    /// The code for the size of values, above the number: 0 if they say theirs.
    #[must_use]
    #[inline]
    pub const fn size_code(self) -> u8 {
        self.byte() >> Self::SIZE_CODE_AT
    }

    /// The field's number.
    #[must_use]
    pub fn tlv(self) -> Option<TlvType> {
        TlvType::new(self.byte() & TlvType::MAX)
    }

    /// Bytes before a value of this size, in a field whose values all have it: 1 or 2.
    #[must_use]
    pub const fn header_size(size: u8) -> usize {
        if matches!(size, 2 | 4 | 8) { 1 } else { 2 }
    }

    /// The header of a value of `size` bytes; `None` if values with this tag have other sizes.
    pub(super) fn header(self, size: usize) -> Option<TlvHeader> {
        let long = match self.size_code() {
            0 => true,
            code if size == 1 << code => false,
            _ => return None,
        };
        Some(TlvHeader {
            bytes: [self.byte(), u8::try_from(size).ok()?],
            long,
        })
    }
}

/// The bytes of a TLV before its value.
pub(super) struct TlvHeader {
    bytes: [u8; 2],
    long: bool,
}

impl TlvHeader {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..1 + usize::from(self.long)]
    }

    pub(super) fn void(&self) -> Self {
        let [tag, size] = self.bytes;
        Self {
            bytes: [tag & !TlvType::MAX, size],
            ..*self
        }
    }
}
