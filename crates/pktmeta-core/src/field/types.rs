//! The Rust types that a field's values can have.

use super::{kind::Kind, misspelt::Misspelt, typed::FieldType};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    str::FromStr,
};

/// A MAC address.
///
/// Exhaustive: it is its six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    fn read(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *octet = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(octets))
    }
}

/// Reads `02:00:5e:00:53:01`.
impl FromStr for MacAddr {
    type Err = Misspelt;

    fn from_str(text: &str) -> Result<Self, Misspelt> {
        let wanted = "a MAC address such as 02:00:5e:00:53:01";
        Self::read(text).ok_or_else(|| Misspelt::new(wanted))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A point in time, in nanoseconds of the clock that the field's documentation names.
///
/// Exhaustive: it is one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Nanoseconds since the clock's zero.
    pub nanoseconds: u64,
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nanoseconds.fmt(f)
    }
}

/// Up to `MAX` bytes.
///
/// ```
/// use pktmeta_core::field::VarBytes;
/// let cookie: VarBytes<8> = VarBytes::new(b"abc").ok_or("too long")?;
/// assert_eq!(&cookie[..], b"abc");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarBytes<const MAX: usize> {
    bytes: [u8; MAX],
    size: u8,
}

impl<const MAX: usize> VarBytes<MAX> {
    /// A copy of `bytes`; `None` if they are more than `MAX`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut copy = [0; MAX];
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            bytes: copy,
            size: u8::try_from(bytes.len()).ok()?,
        })
    }
}

impl<const MAX: usize> Deref for VarBytes<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.size.into()]
    }
}

impl<const MAX: usize> fmt::Debug for VarBytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

macro_rules! integer_field_type {
    ($kind:ident: $($type:ty),*) => {$(
        impl FieldType for $type {
            const KIND: Kind = Kind::$kind { size: size_of::<$type>() as u8 };

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }

            fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
                store(&self.to_le_bytes())
            }
        }
    )*};
}

integer_field_type!(Unsigned: u8, u16, u32, u64, u128);
integer_field_type!(Signed: i8, i16, i32, i64, i128);

impl FieldType for () {
    const KIND: Kind = Kind::Flag;

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(&[])
    }
}

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

impl FieldType for Timestamp {
    const KIND: Kind = Kind::Timestamp;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let nanoseconds = u64::decode(bytes)?;
        Some(Self { nanoseconds })
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        self.nanoseconds.encode(store)
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

/// An IPv4 address comes back as one. Flow label and scope of an IPv6 one are not carried.
impl FieldType for SocketAddr {
    const KIND: Kind = Kind::Socket;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (address, port) = bytes.split_at_checked(16)?;
        let address = Ipv6Addr::decode(address)?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        Some(Self::new(address.to_canonical(), port))
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        let address = match self.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&address.octets());
        bytes[16..].copy_from_slice(&self.port().to_be_bytes());
        store(&bytes)
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
    const KIND: Kind = Kind::Bytes {
        size: bytes_size(N),
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(self)
    }
}

impl<const MAX: usize> FieldType for VarBytes<MAX> {
    const KIND: Kind = Kind::Variable {
        max: bytes_size(MAX),
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::new(bytes)
    }

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {
        store(self)
    }
}

const fn bytes_size(size: usize) -> u8 {
    assert!(
        1 <= size && size <= Kind::BYTES_MAX as usize,
        "a field of bytes has 1 to 64 of them"
    );
    size as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads_back<T: FieldType + PartialEq + fmt::Debug>(value: T, bytes: &[u8]) {
        value.encode(|encoded| assert_eq!(encoded, bytes));
        assert_eq!(T::decode(bytes), Some(value));
        if T::KIND != Kind::Flag && !T::KIND.is_variable() {
            assert_eq!(bytes.len(), usize::from(T::KIND.size()));
            assert_eq!(T::decode(&bytes[1..]), None);
        }
        let mut long = [0; 80];
        long[..bytes.len()].copy_from_slice(bytes);
        assert_eq!(T::decode(&long), None);
    }

    #[test]
    fn every_type_reads_back_from_the_bytes_that_the_abi_says() {
        reads_back((), &[]);
        reads_back(true, &[1]);
        reads_back(0x0102u16, &[2, 1]);
        reads_back(-2i32, &[0xfe, 0xff, 0xff, 0xff]);
        reads_back(
            1u128 << 120,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        );
        reads_back(Timestamp { nanoseconds: 7 }, &[7, 0, 0, 0, 0, 0, 0, 0]);
        reads_back(Ipv4Addr::new(192, 0, 2, 1), &[192, 0, 2, 1]);
        let mut v6 = [0; 18];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v6[15] = 9;
        reads_back("2001:db8::9".parse::<Ipv6Addr>().unwrap(), &v6[..16]);
        v6[16..].copy_from_slice(&[1, 0xbb]);
        reads_back("[2001:db8::9]:443".parse::<SocketAddr>().unwrap(), &v6);
        let v4 = [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 0, 53,
        ];
        reads_back("192.0.2.1:53".parse::<SocketAddr>().unwrap(), &v4);
        reads_back(MacAddr([2, 0, 0x5e, 0, 0x53, 1]), &[2, 0, 0x5e, 0, 0x53, 1]);
        reads_back([1u8, 2, 3], &[1, 2, 3]);
        reads_back(VarBytes::<64>::new(b"abc").unwrap(), b"abc");
        reads_back(VarBytes::<64>::new(b"").unwrap(), b"");
        assert_eq!(bool::decode(&[2]), None);
        assert_eq!(VarBytes::<2>::new(b"abc"), None);
    }
}
