//! The types that fields can have.

use core::fmt;

use crate::record::{Tag, TlvType};

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `flag`: no bytes; a record has it or not.
    Flag,
    /// `bool`: one byte, 0 or 1.
    Bool,
    /// `u8` to `u128`: unsigned integer.
    Unsigned {
        /// Bytes: 1, 2, 4, 8 or 16.
        size: u8,
    },
    /// `i8` to `i128`: signed integer, two's complement.
    Signed {
        /// Bytes: 1, 2, 4, 8 or 16.
        size: u8,
    },
    /// `enum8` to `enum32`: a number that its schema gives names to.
    Enum {
        /// Bytes: 1, 2 or 4.
        size: u8,
    },
    /// `bits8` to `bits64`: a set of bits that its schema gives names to.
    Bits {
        /// Bytes: 1, 2, 4 or 8.
        size: u8,
    },
    /// `timestamp`: nanoseconds, 8 bytes; of which clock is for the field's documentation to say.
    Timestamp,
    /// `ipv4`: IPv4 address, 4 bytes.
    Ipv4,
    /// `ipv6`: IPv6 address, 16 bytes.
    Ipv6,
    /// `socket`: IPv6 address, 16 bytes, and port, 2 bytes; an IPv4 address as `::ffff:a.b.c.d`.
    Socket,
    /// `mac`: MAC address, 6 bytes.
    Mac,
    /// `bytes[N]`: a fixed number of bytes.
    Bytes {
        /// Bytes: 1 to 64.
        size: u8,
    },
    /// `bytes[..N]`: up to a number of bytes.
    Variable {
        /// Most bytes: 1 to 64.
        max: u8,
    },
}

impl Kind {
    /// Most bytes of a value.
    pub const BYTES_MAX: u8 = 64;

    /// What a schema may say, for messages.
    pub const NAMES: &'static str = "flag, bool, u8 to u128, i8 to i128, enum8 to enum32, bits8 to bits64, \
         timestamp, ipv4, ipv6, socket, mac, bytes[N] or bytes[..N] with N from 1 to 64";

    /// The kind that a schema calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let kind = match name {
            "flag" => Self::Flag,
            "bool" => Self::Bool,
            "timestamp" => Self::Timestamp,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "socket" => Self::Socket,
            "mac" => Self::Mac,
            _ => {
                let digits = name.find(|c: char| c.is_ascii_digit() || c == '[')?;
                let (family, size) = name.split_at(digits);
                match family {
                    "u" => Self::from_code(Self::UNSIGNED, bits_to_bytes(size)?)?,
                    "i" => Self::from_code(Self::SIGNED, bits_to_bytes(size)?)?,
                    "enum" => Self::from_code(Self::ENUM, bits_to_bytes(size)?)?,
                    "bits" => Self::from_code(Self::BITS, bits_to_bytes(size)?)?,
                    "bytes" => {
                        let size = size.strip_prefix('[')?.strip_suffix(']')?;
                        match size.strip_prefix("..") {
                            Some(max) => Self::from_code(Self::VARIABLE, decimal(max)?)?,
                            None => Self::from_code(Self::BYTES, decimal(size)?)?,
                        }
                    }
                    _ => return None,
                }
            }
        };
        Some(kind)
    }

    /// Bytes of a value, at most.
    #[must_use]
    #[inline]
    pub const fn size(self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Bool => 1,
            Self::Unsigned { size }
            | Self::Signed { size }
            | Self::Enum { size }
            | Self::Bits { size }
            | Self::Bytes { size }
            | Self::Variable { max: size } => size,
            Self::Ipv4 => 4,
            Self::Mac => 6,
            Self::Timestamp => 8,
            Self::Ipv6 => 16,
            Self::Socket => 18,
        }
    }

    /// True if values differ in size.
    #[must_use]
    pub const fn is_variable(self) -> bool {
        matches!(self, Self::Variable { .. })
    }

    /// The tag of a field that has this kind and the number `tlv`.
    #[must_use]
    #[inline]
    pub const fn tag(self, tlv: TlvType) -> Tag {
        match self {
            Self::Variable { .. } => Tag::sized(tlv),
            _ => Tag::fixed(tlv, self.size()),
        }
    }

    /// Bytes of a record that a field of this kind takes, at most.
    #[must_use]
    pub const fn tlv_size(self) -> usize {
        let header = match self {
            Self::Variable { .. } => 2,
            _ => Tag::header_size(self.size()),
        };
        header + self.size() as usize
    }

    /// The kind's number in a [`crate::FieldInfo`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unsigned { .. } => Self::UNSIGNED,
            Self::Bool => 2,
            Self::Ipv4 => 3,
            Self::Ipv6 => 4,
            Self::Mac => 5,
            Self::Bytes { .. } => Self::BYTES,
            Self::Signed { .. } => Self::SIGNED,
            Self::Enum { .. } => Self::ENUM,
            Self::Bits { .. } => Self::BITS,
            Self::Timestamp => 10,
            Self::Socket => 11,
            Self::Variable { .. } => Self::VARIABLE,
            Self::Flag => 13,
        }
    }

    /// The kind with this number and size.
    #[must_use]
    pub const fn from_code(code: u8, size: u8) -> Option<Self> {
        Some(match (code, size) {
            (Self::UNSIGNED, 1 | 2 | 4 | 8 | 16) => Self::Unsigned { size },
            (2, 1) => Self::Bool,
            (3, 4) => Self::Ipv4,
            (4, 16) => Self::Ipv6,
            (5, 6) => Self::Mac,
            (Self::BYTES, 1..=Self::BYTES_MAX) => Self::Bytes { size },
            (Self::SIGNED, 1 | 2 | 4 | 8 | 16) => Self::Signed { size },
            (Self::ENUM, 1 | 2 | 4) => Self::Enum { size },
            (Self::BITS, 1 | 2 | 4 | 8) => Self::Bits { size },
            (10, 8) => Self::Timestamp,
            (11, 18) => Self::Socket,
            (Self::VARIABLE, 1..=Self::BYTES_MAX) => Self::Variable { max: size },
            (13, 0) => Self::Flag,
            _ => return None,
        })
    }

    const UNSIGNED: u8 = 1;
    const BYTES: u8 = 6;
    const SIGNED: u8 = 7;
    const ENUM: u8 = 8;
    const BITS: u8 = 9;
    const VARIABLE: u8 = 12;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u16::from(self.size()) * 8;
        match self {
            Self::Flag => f.pad("flag"),
            Self::Bool => f.pad("bool"),
            Self::Unsigned { .. } => write!(f, "u{bits}"),
            Self::Signed { .. } => write!(f, "i{bits}"),
            Self::Enum { .. } => write!(f, "enum{bits}"),
            Self::Bits { .. } => write!(f, "bits{bits}"),
            Self::Timestamp => f.pad("timestamp"),
            Self::Ipv4 => f.pad("ipv4"),
            Self::Ipv6 => f.pad("ipv6"),
            Self::Socket => f.pad("socket"),
            Self::Mac => f.pad("mac"),
            Self::Bytes { size } => write!(f, "bytes[{size}]"),
            Self::Variable { max } => write!(f, "bytes[..{max}]"),
        }
    }
}

fn bits_to_bytes(bits: &str) -> Option<u8> {
    let bits = decimal(bits)?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// A number as [`Kind`]'s `Display` writes it, so that each kind has one name.
fn decimal(digits: &str) -> Option<u8> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    canonical.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_has_one_name_and_one_code() {
        let names = "flag bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 enum8 enum16 enum32 bits8 \
                     bits16 bits32 bits64 timestamp ipv4 ipv6 socket mac bytes[1] bytes[64] \
                     bytes[..1] bytes[..64]";
        for name in names.split_whitespace() {
            let kind = Kind::parse(name).unwrap();
            assert_eq!(kind.to_string(), name);
            assert_eq!(Kind::from_code(kind.code(), kind.size()), Some(kind));
        }
        for name in [
            "",
            "u",
            "u7",
            "u24",
            "u256",
            "u08",
            "enum64",
            "bits128",
            "bytes[0]",
            "bytes[65]",
            "bytes[..0]",
            "bytes[..65]",
            "bytes[+8]",
            "bytes[08]",
            "bytes",
            "f32",
            "Bool",
            "é8",
        ] {
            assert_eq!(Kind::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_code_and_no_name_make_it_panic(code: u8, size: u8, name: String) {
            if let Some(kind) = Kind::from_code(code, size) {
                prop_assert_eq!((kind.code(), kind.size()), (code, size));
                prop_assert_eq!(Kind::parse(&kind.to_string()), Some(kind));
            }
            let _ = Kind::parse(&name);
        }
    }
}
