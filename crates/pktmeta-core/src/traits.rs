//! Packet traits: the key-value API that was proposed for the kernel, as a view of a record.
//!
//! Keys are 0 to 63, values 0, 2, 4, 8 or 16 bytes. Key 7 is the field `trait_7`, a `bytes[..16]`
//! that a schema lists as any other: the registry sees to it that two owners do not use one key
//! without knowing. `pktmeta/traits.bpf.h` is the same in BPF. Errors are those of
//! <https://lore.kernel.org/all/20250422-afabre-traits-010-rfc2-v2-0-92bcc6b146c9@arthurfabre.com/>.

use crate::{
    record::{Record, SetError, Tag},
    registry::Registry,
};
use core::fmt;

/// The traits in a record.
///
/// ```
/// # use pktmeta_core::{Record, Registry, FieldName, Kind, registry::Wanted};
/// use pktmeta_core::traits::{TraitError, Traits};
/// # let mut registry = Registry::new();
/// # let name: FieldName = "trait_7".parse()?;
/// # registry.register(&Wanted::new(name, name, Kind::Variable { max: 16 }))?;
/// let mut record = Record::new();
/// let mut traits = Traits::new(&registry, &mut record);
/// traits.set(7, &42u32.to_le_bytes())?;
/// assert_eq!(traits.get(7), Ok(&[42, 0, 0, 0][..]));
/// assert_eq!(traits.set(7, &[0; 2]), Err(TraitError::Busy));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Traits<'a> {
    registry: &'a Registry,
    record: &'a mut Record,
}

impl<'a> Traits<'a> {
    /// Keys are below this.
    pub const KEYS: u8 = 64;

    /// Most bytes of a value.
    pub const VALUE_MAX: usize = 16;

    /// The traits in `record`, whose numbers `registry` has.
    #[must_use]
    pub fn new(registry: &'a Registry, record: &'a mut Record) -> Self {
        Self { registry, record }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`TraitError::Invalid`], [`TraitError::Unregistered`], [`TraitError::Busy`] or
    /// [`TraitError::NoRoom`]; nothing is changed.
    pub fn set(&mut self, key: u8, value: &[u8]) -> Result<(), TraitError> {
        let tag = self.tag(key)?;
        if !matches!(value.len(), 0 | 2 | 4 | 8 | 16) {
            return Err(TraitError::Invalid);
        }
        if self
            .record
            .get(tag)
            .is_some_and(|old| old.len() != value.len())
        {
            return Err(TraitError::Busy);
        }
        self.record.set(tag, value).map_err(|error| match error {
            SetError::NoRoom { .. } => TraitError::NoRoom,
            SetError::Size => TraitError::Invalid,
        })
    }

    /// A key's value.
    ///
    /// # Errors
    /// [`TraitError::NotFound`], [`TraitError::Invalid`] or [`TraitError::Unregistered`].
    pub fn get(&self, key: u8) -> Result<&[u8], TraitError> {
        let tag = self.tag(key)?;
        self.record.get(tag).ok_or(TraitError::NotFound)
    }

    /// Takes a key out.
    ///
    /// # Errors
    /// As [`Traits::get`].
    pub fn del(&mut self, key: u8) -> Result<(), TraitError> {
        let tag = self.tag(key)?;
        match self.record.delete(tag) {
            true => Ok(()),
            false => Err(TraitError::NotFound),
        }
    }

    /// True if the key has a value.
    #[must_use]
    pub fn is_set(&self, key: u8) -> bool {
        self.get(key).is_ok()
    }

    fn tag(&self, key: u8) -> Result<Tag, TraitError> {
        if key >= Self::KEYS {
            return Err(TraitError::Invalid);
        }
        let name = alloc::format!("trait_{key}");
        let field = self.registry.by_name(&name);
        let field = field.filter(|field| {
            field.kind.is_variable() && usize::from(field.kind.size()) == Self::VALUE_MAX
        });
        field
            .map(|field| field.tag())
            .ok_or(TraitError::Unregistered)
    }
}

/// Why a trait was not set, read or taken out, with the errno of the proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraitError {
    /// `EINVAL`: no such key, or no such size.
    Invalid,
    /// `EBUSY`: the key has a value of another size.
    Busy,
    /// `ENOSPC`: the record is full.
    NoRoom,
    /// `ENOENT`: the key has no value.
    NotFound,
    /// No schema on this host lists `trait_KEY` as `bytes[..16]`.
    Unregistered,
}

impl TraitError {
    /// What to do about it; `None` where the error says all there is.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Invalid | Self::NotFound => None,
            Self::Busy => Some("delete it first"),
            Self::NoRoom => Some("delete a field first"),
            Self::Unregistered => Some("register a field trait_KEY of type bytes[..16]"),
        }
    }
}

impl fmt::Display for TraitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "keys are 0 to 63, values 0, 2, 4, 8 or 16 bytes",
            Self::Busy => "the key has a value of another size",
            Self::NoRoom => "the record has no room left",
            Self::NotFound => "the key has no value",
            Self::Unregistered => "no schema lists the key",
        })
    }
}

impl core::error::Error for TraitError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        field::{FieldName, Kind},
        registry::Wanted,
    };

    fn registry() -> Registry {
        let mut registry = Registry::new();
        for key in [0, 63] {
            let name: FieldName = alloc::format!("trait_{key}").parse().unwrap();
            let wanted = Wanted::new(name, name, Kind::Variable { max: 16 });
            registry.register(&wanted).unwrap();
        }
        registry
    }

    #[test]
    fn what_a_trait_cannot_be_is_said_with_what_it_can() {
        use alloc::string::ToString;
        for (error, text) in [
            (TraitError::Invalid, "keys are 0 to 63"),
            (TraitError::Busy, "another size: delete it first"),
            (TraitError::NoRoom, "no room left: delete a field first"),
            (TraitError::NotFound, "has no value"),
            (
                TraitError::Unregistered,
                "lists the key: register a field trait_KEY",
            ),
        ] {
            let said = match error.remedy() {
                Some(remedy) => alloc::format!("{error}: {remedy}"),
                None => error.to_string(),
            };
            assert!(said.contains(text), "{said}");
        }
    }

    #[test]
    fn every_size_is_set_read_and_deleted() {
        let registry = registry();
        let mut record = Record::new();
        let mut traits = Traits::new(&registry, &mut record);
        for size in [0, 2, 4, 8, 16] {
            let value = &[0xa5; 16][..size];
            assert_eq!(traits.get(63), Err(TraitError::NotFound));
            traits.set(63, value).unwrap();
            assert!(traits.is_set(63) && !traits.is_set(0));
            assert_eq!(traits.get(63), Ok(value));
            traits.del(63).unwrap();
            assert_eq!(traits.del(63), Err(TraitError::NotFound));
        }
    }

    #[test]
    fn errors_are_those_of_the_proposal() {
        let registry = registry();
        let mut record = Record::new();
        let mut traits = Traits::new(&registry, &mut record);
        assert_eq!(traits.set(64, &[]), Err(TraitError::Invalid));
        assert_eq!(traits.set(1, &[]), Err(TraitError::Unregistered));
        assert_eq!(traits.set(0, &[0; 3]), Err(TraitError::Invalid));
        traits.set(0, &[0; 4]).unwrap();
        assert_eq!(traits.set(0, &[0; 8]), Err(TraitError::Busy));
        let filler = Tag::sized(crate::record::TlvType::new(9).unwrap());
        record.set(filler, &[0; 200]).unwrap();
        let mut traits = Traits::new(&registry, &mut record);
        assert_eq!(traits.set(63, &[0; 8]), Err(TraitError::NoRoom));
        assert_eq!(traits.get(0), Ok(&[0; 4][..]));
    }
}
