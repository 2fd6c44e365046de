//! The fields of a record, for people.

use super::hex::hex;
use crate::{field::Value, record::TlvType, registry::FieldInfo};
use std::fmt;

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its number.
    pub number: TlvType,
    /// The bytes of its value.
    pub bytes: Vec<u8>,
    /// Their meaning.
    pub meaning: Meaning,
    /// True if readers do not see this one, because the record has the field twice.
    pub again: bool,
}

impl Entry {
    /// The field, if one has this number here.
    #[must_use]
    pub fn info(&self) -> Option<&FieldInfo> {
        match &self.meaning {
            Meaning::Value(known) => Some(&known.info),
            Meaning::Odd(info) => Some(info),
            Meaning::Unknown => None,
        }
    }

    /// The value as people read it: bytes in hex if its field is not known, and as `?(hex)` if they
    /// are no value of it.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.meaning {
            Meaning::Value(known) => known.text.clone(),
            Meaning::Odd(_) => format!("?({})", hex(&self.bytes)),
            Meaning::Unknown => hex(&self.bytes),
        }
    }
}

impl fmt::Display for Entry {
    /// `name=value`, or with `type_` and the number if the field has no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => write!(f, "{}={}", info.name, self.text()),
            None => write!(f, "type_{}={}", self.number, self.text()),
        }
    }
}

/// The meaning of a field's bytes.
///
/// Exhaustive: the field is known or not, and its bytes are a value of it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A value of a field.
    Value(Known),
    /// The field has this number here, but the bytes are no value of it, or have another tag.
    Odd(FieldInfo),
    /// No field has this number here.
    Unknown,
}

/// A field and the value that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// The field.
    pub info: FieldInfo,
    /// Its value.
    pub value: Value,
    /// The value as people read it, by name where it has one;
    /// [`Dictionary::encode`](super::Dictionary::encode) reads it back.
    pub text: String,
}
