//! Reading records that others made.

use super::{field::FieldInfo, table::Registry};
use crate::{field::Value, record::Record};

/// The bytes that a record has for a field.
///
/// Exhaustive: bytes are a value of the field or they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A value of its type.
    Value(Value),
    /// Other bytes, or bytes under the tag of another size. A reader of the field finds no value;
    /// the rest of the record is as good as ever.
    Odd(&'a [u8]),
}

impl FieldInfo {
    /// Its value in `record`: that of the first TLV with its tag. `None` if there is no such TLV,
    /// or if the bytes are no value of its type.
    #[must_use]
    pub fn value_in(&self, record: &Record) -> Option<Value> {
        Value::decode(self.kind, record.get(self.tag())?)
    }
}

impl Registry {
    /// The registered fields of `record`, in its order, once each: the first TLV with the field's
    /// tag counts, and if there is none, the first with its number.
    pub fn read<'a>(
        &'a self,
        record: &'a Record,
    ) -> impl Iterator<Item = (&'a FieldInfo, Found<'a>)> + 'a {
        let mut seen = 0u64;
        record.iter().filter_map(move |(tag, bytes)| {
            let info = self.by_type(tag.tlv()?)?;
            let number = 1 << info.tlv.get(); // <= TlvType::MAX
            let is_ours = info.tag() == tag;
            if seen & number != 0 || !is_ours && record.get(info.tag()).is_some() {
                return None;
            }
            seen |= number;
            let value = Value::decode(info.kind, bytes).filter(|_| is_ours);
            Some((info, value.map_or(Found::Odd(bytes), Found::Value)))
        })
    }

    /// Every value of `record` whose field is registered, with the field.
    pub fn values<'a>(
        &'a self,
        record: &'a Record,
    ) -> impl Iterator<Item = (&'a FieldInfo, Value)> + 'a {
        self.read(record).filter_map(|(info, found)| match found {
            Found::Value(value) => Some((info, value)),
            Found::Odd(_) => None,
        })
    }
}
