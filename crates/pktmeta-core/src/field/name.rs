//! Names of fields and owners.

use super::misspelt::Misspelt;
use core::{fmt, str::FromStr};

/// The name of a field or an owner: a C identifier in lower case of at most 27 bytes, so that BPF
/// source, Rust source and tables can all spell it alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName {
    bytes: [u8; Self::CAPACITY],
}

impl FieldName {
    /// Bytes of a name with its terminating NUL.
    pub const CAPACITY: usize = 28;

    /// The rule for names, as a phrase.
    const RULE: &str =
        "a lower-case letter, then lower-case letters, digits and _, at most 27 in all";

    fn read(name: &str) -> Option<Self> {
        let [first, rest @ ..] = name.as_bytes() else {
            return None;
        };
        let well_formed = first.is_ascii_lowercase()
            && rest
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
            && name.len() < Self::CAPACITY;
        well_formed.then(|| Self::pad(name))
    }

    /// Its key.
    #[inline]
    pub(crate) const fn key(&self) -> NameKey {
        NameKey::of_bytes(&self.bytes)
    }

    /// `name`, which is shorter than [`FieldName::CAPACITY`], with NUL padding.
    const fn pad(name: &str) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        let (start, _) = bytes.split_at_mut(name.len());
        start.copy_from_slice(name.as_bytes());
        Self { bytes }
    }

    /// A name from its NUL-padded bytes.
    #[must_use]
    pub fn from_padded(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == 0)?;
        bytes[end..].iter().all(|&byte| byte == 0).then_some(())?;
        Self::read(core::str::from_utf8(&bytes[..end]).ok()?)
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
        // read() admits ASCII only.
        core::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

/// Two numbers in the order of names, which a few instructions compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameKey([u128; 2]);

impl NameKey {
    /// The key of the field called `name`. If `name` is no valid name, no field has the key.
    pub(crate) const fn new(name: &str) -> Self {
        match name.as_bytes() {
            // That would pass for padding.
            [.., 0] => Self::OF_NONE,
            bytes if bytes.len() < FieldName::CAPACITY => FieldName::pad(name).key(),
            _ => Self::OF_NONE,
        }
    }

    const OF_NONE: Self = Self([u128::MAX; 2]);

    #[inline]
    const fn of_bytes(bytes: &[u8; FieldName::CAPACITY]) -> Self {
        match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => {
                Self([u128::from_be_bytes(*first), u128::from_be_bytes(*last)])
            }
            _ => Self::OF_NONE, // never: both are shorter
        }
    }
}

impl FromStr for FieldName {
    type Err = Misspelt;

    fn from_str(name: &str) -> Result<Self, Misspelt> {
        Self::read(name).ok_or_else(|| Misspelt::new(Self::RULE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_lower_case_identifier() {
        let longest = "a".repeat(27);
        for name in ["tenant", "x1_y", longest.as_str()] {
            let name: FieldName = name.parse().unwrap();
            assert_eq!(FieldName::from_padded(name.as_padded()), Some(name));
        }
        for name in ["", "1x", "Tenant", "a-b", "_x", "é", &"a".repeat(28)] {
            assert!(name.parse::<FieldName>().is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = (text.parse::<FieldName>(), FieldName::from_padded(text.as_bytes()));
        }
    }
}
