//! Prefixes of source addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A prefix of the addresses of one version of IP. In their order, a prefix comes right before the
/// prefixes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    version: Version,
    /// The address, with its first bit the highest, in both versions of IP.
    address: u128,
    length: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V4 = 4,
    V6 = 6,
}

impl Version {
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl Prefix {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "the prefix is no IP address")?;
        let (version, address) = match address {
            IpAddr::V4(address) => (Version::V4, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (Version::V6, u128::from(address)),
        };
        let length: u8 = match length {
            Some(length) => length
                .parse()
                .map_err(|_| "the prefix length is no number")?,
            None => version.bits(),
        };
        if length > version.bits() {
            return Err("the prefix is longer than the address");
        }
        if address & !Self::mask(length) != 0 {
            return Err("the address has bits beyond the prefix length");
        }
        Ok(Self {
            version,
            address,
            length,
        })
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.version == other.version
            && self.length <= other.length
            && other.address & Self::mask(self.length) == self.address
    }

    pub(crate) fn key(&self) -> [u8; KEY_SIZE] {
        let mut key = [0; KEY_SIZE];
        key[..4].copy_from_slice(&(Self::VERSION_BITS + u32::from(self.length)).to_ne_bytes());
        key[4..8].copy_from_slice(&(self.version as u32).to_be_bytes());
        key[8..].copy_from_slice(&self.address.to_be_bytes());
        key
    }

    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let (length, rest) = key.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let length = u32::from_ne_bytes(*length).checked_sub(Self::VERSION_BITS)?;
        Some(Self {
            version: match u32::from_be_bytes(*version) {
                4 => Version::V4,
                6 => Version::V6,
                _ => return None,
            },
            address: u128::from_be_bytes(*rest.first_chunk()?),
            length: length.try_into().ok()?,
        })
    }

    /// Bits of the key for the version, in front of the address.
    const VERSION_BITS: u32 = u32::BITS;

    fn mask(length: u8) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: IpAddr = match self.version {
            Version::V4 => Ipv4Addr::from((self.address >> 96) as u32).into(),
            Version::V6 => Ipv6Addr::from(self.address).into(),
        };
        write!(f, "{address}/{}", self.length)
    }
}

/// Bytes of a `struct pktmeta_label_key`.
pub(crate) const KEY_SIZE: usize = 24;
