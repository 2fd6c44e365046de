//! Fields: what a value is called and what type it has.

use alloc::{string::String, string::ToString, vec::Vec};
use core::{fmt, marker::PhantomData, net::Ipv4Addr, net::Ipv6Addr};

/// A field that an application or a tool names in its source: `Field<u32>` is a field whose values
/// are `u32`.
///
/// The name finds the TLV type on the host it runs on, through a [`crate::Registry`]; no number
/// appears in source.
///
/// ```
/// use pktmeta_core::Field;
/// const TENANT: Field<u32> = Field::new("tenant");
/// ```
pub struct Field<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: FieldType> Field<T> {
    /// The field called `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            value: PhantomData,
        }
    }

    /// The field's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: FieldType> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({}: {})", self.name, T::KIND)
    }
}

/// A Rust type that a field's values can have.
///
/// Multi-byte integers are little-endian in a record; addresses are in the order in which they
/// stand in a packet.
pub trait FieldType: Sized {
    /// The kind of field that holds such values.
    const KIND: Kind;

    /// Reads a value; `None` if `bytes` is not exactly as long as the kind says.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Calls `store` with the value's bytes.
    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R;
}

macro_rules! unsigned_field_type {
    ($($type:ty),*) => {$(
        impl FieldType for $type {
            const KIND: Kind = Kind::Unsigned { size: size_of::<$type>() as u8 };

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }

            fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
                store(&self.to_le_bytes())
            }
        }
    )*};
}

unsigned_field_type!(u8, u16, u32, u64);

impl FieldType for bool {
    const KIND: Kind = Kind::Bool;

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(&[u8::from(*self)])
    }
}

impl FieldType for Ipv4Addr {
    const KIND: Kind = Kind::Ipv4;

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(<[u8; 4]>::try_from(bytes).ok()?.into())
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(&self.octets())
    }
}

impl FieldType for Ipv6Addr {
    const KIND: Kind = Kind::Ipv6;

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(<[u8; 16]>::try_from(bytes).ok()?.into())
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(&self.octets())
    }
}

impl FieldType for MacAddr {
    const KIND: Kind = Kind::Mac;

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(&self.0)
    }
}

impl<const N: usize> FieldType for [u8; N] {
    const KIND: Kind = {
        assert!(
            1 <= N && N <= Kind::BYTES_MAX as usize,
            "a bytes field has 1 to 64 bytes"
        );
        Kind::Bytes { size: N as u8 }
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(self)
    }
}

/// The type of a field, as a schema writes it: `u8`, `u16`, `u32`, `u64`, `bool`, `ipv4`, `ipv6`,
/// `mac`, or `bytes[N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Unsigned integer of 1, 2, 4 or 8 bytes.
    Unsigned {
        /// Bytes: 1, 2, 4 or 8.
        size: u8,
    },
    /// One byte, 0 or 1.
    Bool,
    /// IPv4 address, 4 bytes.
    Ipv4,
    /// IPv6 address, 16 bytes.
    Ipv6,
    /// MAC address, 6 bytes.
    Mac,
    /// A fixed number of bytes.
    Bytes {
        /// Bytes: 1 to 64.
        size: u8,
    },
}

impl Kind {
    /// Most bytes of a `bytes[N]` field.
    pub const BYTES_MAX: u8 = 64;

    /// What a schema may say, for messages.
    pub const NAMES: &'static str =
        "u8, u16, u32, u64, bool, ipv4, ipv6, mac, bytes[N] with N from 1 to 64";

    /// The kind that a schema calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "u8" => Self::Unsigned { size: 1 },
            "u16" => Self::Unsigned { size: 2 },
            "u32" => Self::Unsigned { size: 4 },
            "u64" => Self::Unsigned { size: 8 },
            "bool" => Self::Bool,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "mac" => Self::Mac,
            _ => {
                let size = name
                    .strip_prefix("bytes[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()?;
                (1..=Self::BYTES_MAX)
                    .contains(&size)
                    .then_some(Self::Bytes { size })?
            }
        })
    }

    /// Bytes of a value.
    #[must_use]
    pub const fn size(self) -> u8 {
        match self {
            Self::Unsigned { size } | Self::Bytes { size } => size,
            Self::Bool => 1,
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
            Self::Mac => 6,
        }
    }

    /// The kind's number in a [`crate::FieldInfo`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unsigned { .. } => 1,
            Self::Bool => 2,
            Self::Ipv4 => 3,
            Self::Ipv6 => 4,
            Self::Mac => 5,
            Self::Bytes { .. } => 6,
        }
    }

    /// The kind with this number and size.
    #[must_use]
    pub const fn from_code(code: u8, size: u8) -> Option<Self> {
        Some(match (code, size) {
            (1, 1 | 2 | 4 | 8) => Self::Unsigned { size },
            (2, 1) => Self::Bool,
            (3, 4) => Self::Ipv4,
            (4, 16) => Self::Ipv6,
            (5, 6) => Self::Mac,
            (6, 1..=Self::BYTES_MAX) => Self::Bytes { size },
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned { size } => write!(f, "u{}", u16::from(*size) * 8),
            Self::Bool => f.write_str("bool"),
            Self::Ipv4 => f.write_str("ipv4"),
            Self::Ipv6 => f.write_str("ipv6"),
            Self::Mac => f.write_str("mac"),
            Self::Bytes { size } => write!(f, "bytes[{size}]"),
        }
    }
}

/// A value whose type is known only when the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a `u8`, `u16`, `u32` or `u64` field.
    Unsigned(u64),
    /// Of a `bool` field.
    Bool(bool),
    /// Of an `ipv4` field.
    Ipv4(Ipv4Addr),
    /// Of an `ipv6` field.
    Ipv6(Ipv6Addr),
    /// Of a `mac` field.
    Mac(MacAddr),
    /// Of a `bytes[N]` field.
    Bytes(Vec<u8>),
}

impl Value {
    /// Reads a value of `kind`; `None` if `bytes` is not one.
    #[must_use]
    pub fn decode(kind: Kind, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != usize::from(kind.size()) {
            return None;
        }
        Some(match kind {
            Kind::Unsigned { .. } => Self::Unsigned(
                bytes
                    .iter()
                    .rev()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte)),
            ),
            Kind::Bool => Self::Bool(FieldType::decode(bytes)?),
            Kind::Ipv4 => Self::Ipv4(FieldType::decode(bytes)?),
            Kind::Ipv6 => Self::Ipv6(FieldType::decode(bytes)?),
            Kind::Mac => Self::Mac(FieldType::decode(bytes)?),
            Kind::Bytes { .. } => Self::Bytes(bytes.into()),
        })
    }

    /// The value's bytes as a field of `kind` holds them; `None` if it is of another kind or does
    /// not fit.
    #[must_use]
    pub fn encode(&self, kind: Kind) -> Option<Vec<u8>> {
        Some(match (self, kind) {
            (Self::Unsigned(value), Kind::Unsigned { size }) => {
                let bytes = value.to_le_bytes();
                let (low, high) = bytes.split_at(size.into());
                high.iter().all(|&byte| byte == 0).then(|| low.into())?
            }
            (Self::Bool(value), Kind::Bool) => value.encode(<[u8]>::to_vec),
            (Self::Ipv4(value), Kind::Ipv4) => value.encode(<[u8]>::to_vec),
            (Self::Ipv6(value), Kind::Ipv6) => value.encode(<[u8]>::to_vec),
            (Self::Mac(value), Kind::Mac) => value.encode(<[u8]>::to_vec),
            (Self::Bytes(value), Kind::Bytes { size }) => {
                (value.len() == usize::from(size)).then(|| value.clone())?
            }
            _ => return None,
        })
    }

    /// Reads what a person writes for a value of `kind`: `7`, `0x1f`, `true`, `192.0.2.1`,
    /// `2001:db8::1`, `02:00:5e:00:53:01`, or hex digits for bytes.
    ///
    /// # Errors
    /// What would have been right, as a phrase.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let value = match kind {
            Kind::Unsigned { .. } => parse_unsigned(text).map(Self::Unsigned),
            Kind::Bool => text.parse().ok().map(Self::Bool),
            Kind::Ipv4 => text.parse().ok().map(Self::Ipv4),
            Kind::Ipv6 => text.parse().ok().map(Self::Ipv6),
            Kind::Mac => MacAddr::parse(text).map(Self::Mac),
            Kind::Bytes { .. } => parse_hex(text).map(Self::Bytes),
        };
        value
            .filter(|value| value.encode(kind).is_some())
            .ok_or_else(|| match kind {
                Kind::Unsigned { size } => {
                    let max = u64::MAX >> (64 - 8 * u32::from(size));
                    alloc::format!("a number from 0 to {max}, decimal or 0x hex")
                }
                Kind::Bool => "true or false".to_string(),
                Kind::Ipv4 => "an IPv4 address such as 192.0.2.1".to_string(),
                Kind::Ipv6 => "an IPv6 address such as 2001:db8::1".to_string(),
                Kind::Mac => "a MAC address such as 02:00:5e:00:53:01".to_string(),
                Kind::Bytes { size } => alloc::format!("{} hex digits", 2 * u16::from(size)),
            })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Ipv4(value) => value.fmt(f),
            Self::Ipv6(value) => value.fmt(f),
            Self::Mac(value) => value.fmt(f),
            Self::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Reads `02:00:5e:00:53:01`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *octet = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(octets))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The name of a field or an owner: a C identifier in lower case of at most 27 bytes, so that BPF
/// source, Rust source and tables can all spell it alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName {
    bytes: [u8; Self::CAPACITY],
}

impl FieldName {
    /// Bytes of a name with its terminating NUL.
    pub const CAPACITY: usize = 28;

    /// What a name must be, for messages.
    pub const RULE: &'static str =
        "a name is a lower-case letter, then lower-case letters, digits and _, at most 27 in all";

    /// `name`, if it follows the [rule](Self::RULE).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let [first, rest @ ..] = name.as_bytes() else {
            return None;
        };
        let well_formed = first.is_ascii_lowercase()
            && rest
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
            && name.len() < Self::CAPACITY;
        let mut bytes = [0; Self::CAPACITY];
        well_formed.then(|| {
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            Self { bytes }
        })
    }

    /// A name from its NUL-padded bytes.
    #[must_use]
    pub fn from_padded(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == 0)?;
        bytes[end..].iter().all(|&byte| byte == 0).then_some(())?;
        Self::parse(core::str::from_utf8(&bytes[..end]).ok()?)
    }

    /// The name with its NUL padding.
    #[must_use]
    pub const fn as_padded(&self) -> &[u8; Self::CAPACITY] {
        &self.bytes
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self
            .bytes
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(Self::CAPACITY);
        // parse() admits ASCII only.
        core::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

fn parse_unsigned(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok(),
        None if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_reads_back_from_its_name_and_its_code() {
        for name in [
            "u8",
            "u16",
            "u32",
            "u64",
            "bool",
            "ipv4",
            "ipv6",
            "mac",
            "bytes[64]",
        ] {
            let kind = Kind::parse(name).unwrap();
            assert_eq!(kind.to_string(), name);
            assert_eq!(Kind::from_code(kind.code(), kind.size()), Some(kind));
        }
        for name in [
            "",
            "u33",
            "U8",
            "bytes",
            "bytes[]",
            "bytes[0]",
            "bytes[65]",
            "bytes[300]",
        ] {
            assert_eq!(Kind::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_value_prints_as_it_is_written() {
        for (kind, text) in [
            ("u8", "255"),
            ("u64", "18446744073709551615"),
            ("bool", "true"),
            ("ipv4", "192.0.2.1"),
            ("ipv6", "2001:db8::1"),
            ("mac", "02:00:5e:00:53:01"),
            ("bytes[3]", "00ff7a"),
        ] {
            let kind = Kind::parse(kind).unwrap();
            let value = Value::parse(kind, text).unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(
                Value::decode(kind, &value.encode(kind).unwrap()),
                Some(value)
            );
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        for (kind, text, wanted) in [
            ("u8", "256", "0 to 255"),
            ("u64", "18446744073709551616", "0 to 18446744073709551615"),
            ("u8", "+1", "0 to 255"),
            ("bool", "yes", "true or false"),
            ("ipv4", "2001:db8::1", "IPv4"),
            ("mac", "2:0:0:0:0:1", "MAC"),
            ("bytes[2]", "abc", "4 hex digits"),
        ] {
            let error = Value::parse(Kind::parse(kind).unwrap(), text).unwrap_err();
            assert!(error.contains(wanted), "{kind} {text}: {error}");
        }
    }

    #[test]
    fn a_name_is_a_short_lower_case_identifier() {
        let longest = "a".repeat(27);
        for name in ["tenant", "x1_y", longest.as_str()] {
            let name = FieldName::parse(name).unwrap();
            assert_eq!(FieldName::from_padded(name.as_padded()), Some(name));
        }
        for name in ["", "1x", "Tenant", "a-b", "_x", "é", &"a".repeat(28)] {
            assert_eq!(FieldName::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_value_panic(code in 0u8..8, size in 0u8..70, bytes: Vec<u8>) {
            if let Some(kind) = Kind::from_code(code, size)
                && let Some(value) = Value::decode(kind, &bytes)
            {
                prop_assert_eq!(value.encode(kind), Some(bytes));
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(code in 0u8..8, size in 0u8..70, text: String) {
            if let Some(kind) = Kind::from_code(code, size) {
                let _ = Value::parse(kind, &text);
            }
            let _ = (Kind::parse(&text), FieldName::parse(&text), MacAddr::parse(&text));
        }
    }
}
