//! Values whose type is known only when the program runs.

use super::{
    kind::Kind,
    misspelt::Misspelt,
    typed::FieldType,
    types::{MacAddr, Timestamp},
};
use alloc::{string::String, string::ToString, vec::Vec};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A value whose type is known only when the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Of a `flag` that is set.
    Flag,
    /// Of a `bool` field.
    Bool(bool),
    /// Of an unsigned integer, an enumeration or a set of bits.
    Unsigned(u128),
    /// Of a signed integer.
    Signed(i128),
    /// Of a `timestamp` field.
    Timestamp(Timestamp),
    /// Of an `ipv4` field.
    Ipv4(Ipv4Addr),
    /// Of an `ipv6` field.
    Ipv6(Ipv6Addr),
    /// Of a `socket` field.
    Socket(SocketAddr),
    /// Of a `mac` field.
    Mac(MacAddr),
    /// Of a `bytes[N]` or `bytes[..N]` field.
    Bytes(Vec<u8>),
}

impl Value {
    /// Reads a value of `kind`; `None` if `bytes` is not one.
    #[must_use]
    pub fn decode(kind: Kind, bytes: &[u8]) -> Option<Self> {
        let size = usize::from(kind.size());
        if bytes.len() > size || (bytes.len() < size && !kind.is_variable()) {
            return None;
        }
        Some(match kind {
            Kind::Flag => Self::Flag,
            Kind::Bool => Self::Bool(FieldType::decode(bytes)?),
            Kind::Unsigned { .. } | Kind::Enum { .. } | Kind::Bits { .. } => {
                Self::Unsigned(little_endian(bytes))
            }
            Kind::Signed { size } => {
                let unused = 128 - 8 * u32::from(size);
                Self::Signed((little_endian(bytes) << unused) as i128 >> unused)
            }
            Kind::Timestamp => Self::Timestamp(FieldType::decode(bytes)?),
            Kind::Ipv4 => Self::Ipv4(FieldType::decode(bytes)?),
            Kind::Ipv6 => Self::Ipv6(FieldType::decode(bytes)?),
            Kind::Socket => Self::Socket(FieldType::decode(bytes)?),
            Kind::Mac => Self::Mac(FieldType::decode(bytes)?),
            Kind::Bytes { .. } | Kind::Variable { .. } => Self::Bytes(bytes.into()),
        })
    }

    /// The value's bytes as a field of `kind` holds them; `None` if it is of another kind or does
    /// not fit.
    #[must_use]
    pub fn encode(&self, kind: Kind) -> Option<Vec<u8>> {
        let size = usize::from(kind.size());
        Some(match (self, kind) {
            (Self::Flag, Kind::Flag) => Vec::new(),
            (Self::Bool(value), Kind::Bool) => value.encode(<[u8]>::to_vec),
            (
                Self::Unsigned(value),
                Kind::Unsigned { .. } | Kind::Enum { .. } | Kind::Bits { .. },
            ) => {
                let bytes = value.to_le_bytes();
                let (low, high) = bytes.split_at(size);
                high.iter().all(|&byte| byte == 0).then(|| low.into())?
            }
            (Self::Signed(value), Kind::Signed { .. }) => {
                let unused = 128 - 8 * u32::from(kind.size());
                let fits = value << unused >> unused == *value;
                fits.then(|| value.to_le_bytes()[..size].into())?
            }
            (Self::Timestamp(value), Kind::Timestamp) => value.encode(<[u8]>::to_vec),
            (Self::Ipv4(value), Kind::Ipv4) => value.encode(<[u8]>::to_vec),
            (Self::Ipv6(value), Kind::Ipv6) => value.encode(<[u8]>::to_vec),
            (Self::Socket(value), Kind::Socket) => value.encode(<[u8]>::to_vec),
            (Self::Mac(value), Kind::Mac) => value.encode(<[u8]>::to_vec),
            (Self::Bytes(value), Kind::Bytes { .. }) => {
                (value.len() == size).then(|| value.clone())?
            }
            (Self::Bytes(value), Kind::Variable { .. }) => {
                (value.len() <= size).then(|| value.clone())?
            }
            _ => return None,
        })
    }

    /// Reads a value of `kind` as people write it: `7`, `0x1f`, `-3`, `true`, `192.0.2.1`,
    /// `2001:db8::1`, `192.0.2.1:53`, `[2001:db8::1]:53`, `02:00:5e:00:53:01`, or hex digits for
    /// bytes. It reads the text that displaying a value gives.
    ///
    /// # Errors
    /// It is no value of that kind.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, Misspelt> {
        let value = match kind {
            Kind::Flag => (text == "true").then_some(Self::Flag),
            Kind::Bool => text.parse().ok().map(Self::Bool),
            Kind::Unsigned { .. } | Kind::Enum { .. } | Kind::Bits { .. } => {
                parse_unsigned(text).map(Self::Unsigned)
            }
            Kind::Signed { .. } => parse_signed(text).map(Self::Signed),
            Kind::Timestamp => parse_unsigned(text)
                .and_then(|number| u64::try_from(number).ok())
                .map(|nanoseconds| Self::Timestamp(Timestamp { nanoseconds })),
            Kind::Ipv4 => text.parse().ok().map(Self::Ipv4),
            Kind::Ipv6 => text.parse().ok().map(Self::Ipv6),
            Kind::Socket => parse_socket(text).map(Self::Socket),
            Kind::Mac => text.parse().ok().map(Self::Mac),
            Kind::Bytes { .. } | Kind::Variable { .. } => parse_hex(text).map(Self::Bytes),
        };
        value
            .filter(|value| value.encode(kind).is_some())
            .ok_or_else(|| Misspelt::new(wanted(kind)))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.pad("true"),
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Timestamp(value) => value.fmt(f),
            Self::Ipv4(value) => value.fmt(f),
            Self::Ipv6(value) => value.fmt(f),
            Self::Socket(value) => value.fmt(f),
            Self::Mac(value) => value.fmt(f),
            Self::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// The form of a value of `kind`, as a phrase.
fn wanted(kind: Kind) -> String {
    let bits = 8 * u32::from(kind.size());
    match kind {
        Kind::Flag => "true; leave a flag that is not set out".to_string(),
        Kind::Bool => "true or false".to_string(),
        Kind::Unsigned { .. } | Kind::Enum { .. } | Kind::Bits { .. } | Kind::Timestamp => {
            let max = u128::MAX >> (128 - bits);
            alloc::format!("a number from 0 to {max}, decimal or 0x hex")
        }
        Kind::Signed { .. } => {
            let max = i128::MAX >> (128 - bits);
            alloc::format!("a number from {} to {max}, decimal or 0x hex", -max - 1)
        }
        Kind::Ipv4 => "an IPv4 address such as 192.0.2.1".to_string(),
        Kind::Ipv6 => "an IPv6 address such as 2001:db8::1".to_string(),
        Kind::Socket => "an address and port such as 192.0.2.1:53 or [2001:db8::1]:53".to_string(),
        Kind::Mac => "a MAC address such as 02:00:5e:00:53:01".to_string(),
        Kind::Bytes { size } => alloc::format!("{} hex digits", 2 * u16::from(size)),
        Kind::Variable { max } => {
            alloc::format!("up to {} hex digits, an even number", 2 * u16::from(max))
        }
    }
}

fn little_endian(bytes: &[u8]) -> u128 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |value, &byte| value << 8 | u128::from(byte))
}

fn parse_unsigned(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u128::from_str_radix(hex, 16).ok(),
        None if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

fn parse_signed(text: &str) -> Option<i128> {
    match text.strip_prefix('-') {
        // The lowest number has no positive counterpart.
        Some(positive) => 0i128.checked_sub_unsigned(parse_unsigned(positive)?),
        None => parse_unsigned(text)?.try_into().ok(),
    }
}

/// Not a mapped address: it would come back as the IPv4 address that it maps.
fn parse_socket(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    let plain = SocketAddr::new(address.ip(), address.port());
    (plain == address && plain.ip().to_canonical() == plain.ip()).then_some(address)
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
    fn every_value_reads_back_from_its_text() {
        for (kind, text) in [
            ("flag", "true"),
            ("bool", "false"),
            ("u8", "255"),
            ("u64", "18446744073709551615"),
            ("u128", "340282366920938463463374607431768211455"),
            ("i8", "-128"),
            ("i32", "2147483647"),
            ("i128", "-170141183460469231731687303715884105728"),
            ("enum8", "3"),
            ("bits16", "65535"),
            ("timestamp", "1700000000000000000"),
            ("ipv4", "192.0.2.1"),
            ("ipv6", "2001:db8::1"),
            ("socket", "192.0.2.1:53"),
            ("socket", "[2001:db8::1]:443"),
            ("mac", "02:00:5e:00:53:01"),
            ("bytes[3]", "00aaff"),
            ("bytes[..3]", "aaff"),
            ("bytes[..3]", ""),
        ] {
            let kind: Kind = kind.parse().unwrap();
            let value = Value::parse(kind, text).unwrap();
            assert_eq!(value.to_string(), text);
            let bytes = value.encode(kind).unwrap();
            assert_eq!(Value::decode(kind, &bytes), Some(value));
        }
        let hex = Value::parse(Kind::Unsigned { size: 4 }, "0x1f");
        assert_eq!(hex, Ok(Value::Unsigned(31)));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        for (kind, text, wanted) in [
            ("flag", "false", "leave"),
            ("u8", "256", "0 to 255"),
            ("u64", "18446744073709551616", "0 to 18446744073709551615"),
            ("u8", "+1", "0 to 255"),
            ("i8", "128", "-128 to 127"),
            ("i8", "--1", "-128 to 127"),
            (
                "i128",
                "-170141183460469231731687303715884105729",
                "-17014118346046923173168730371588410572",
            ),
            ("bits8", "0x100", "0 to 255"),
            ("timestamp", "now", "0 to 18446744073709551615"),
            ("bool", "yes", "true or false"),
            ("ipv4", "2001:db8::1", "IPv4"),
            ("socket", "192.0.2.1", "192.0.2.1:53"),
            ("socket", "[::ffff:192.0.2.1]:53", "192.0.2.1:53"),
            ("mac", "2:0:0:0:0:1", "MAC"),
            ("bytes[2]", "abc", "4 hex digits"),
            ("bytes[..2]", "aabbcc", "up to 4 hex digits"),
        ] {
            let error = Value::parse(kind.parse().unwrap(), text).unwrap_err();
            assert!(error.wanted().contains(wanted), "{kind} {text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_value_panic(code in 0u8..16, size in 0u8..70, bytes: Vec<u8>) {
            if let Some(kind) = Kind::from_code(code, size)
                && let Some(value) = Value::decode(kind, &bytes)
            {
                prop_assert_eq!(value.encode(kind), Some(bytes));
                prop_assert_eq!(Value::parse(kind, &value.to_string()), Ok(value));
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(code in 0u8..16, size in 0u8..70, text: String) {
            if let Some(kind) = Kind::from_code(code, size)
                && let Ok(value) = Value::parse(kind, &text)
            {
                prop_assert!(value.encode(kind).is_some());
            }
        }
    }
}
