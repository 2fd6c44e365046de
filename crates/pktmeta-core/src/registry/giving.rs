//! The records that applications may send: the rules of the kernel's programs and of the mock.

use super::{field::FieldInfo, table::Registry};
use crate::{
    field::Value,
    record::{ParseError, Record, TlvType},
};
use core::fmt;

impl Registry {
    /// The record that an application gave as `bytes`; `None` if it has no fields or there are no
    /// bytes: either ends sending.
    ///
    /// # Errors
    /// The bytes are more or fewer than a record has, or applications may not send one of its
    /// fields. It is the first fault.
    pub fn given(&self, bytes: &[u8]) -> Result<Option<Record>, Refusal> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let record = Record::parse(bytes).map_err(Refusal::Record)?;
        if record.as_bytes().len() < bytes.len() {
            return Err(Refusal::Rest);
        }
        let mut seen = 0u64;
        for (tag, value) in record.iter() {
            let Some(tlv) = tag.tlv() else {
                continue; // iter() leaves voids out
            };
            let info = self.writable(tlv)?;
            if info.tag() != tag {
                return Err(Refusal::Value(tlv));
            }
            info.check_given(value)?;
            let number = 1 << tlv.get(); // <= TlvType::MAX
            if seen & number != 0 {
                return Err(Refusal::Twice(tlv));
            }
            seen |= number;
        }
        Ok(Some(record).filter(|record| !record.is_empty()))
    }

    /// The field with a number, if applications may send it.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn writable(&self, tlv: TlvType) -> Result<&FieldInfo, Refusal> {
        let field = self.by_type(tlv);
        field
            .filter(|field| field.policy.writers.app)
            .ok_or(Refusal::NotPermitted(tlv))
    }
}

impl FieldInfo {
    /// Whether an application may give the field this value.
    ///
    /// # Errors
    /// [`Refusal::Value`].
    pub fn check_given(&self, value: &[u8]) -> Result<(), Refusal> {
        match Value::decode(self.kind, value) {
            Some(_) => Ok(()),
            None => Err(Refusal::Value(self.tlv)),
        }
    }
}

/// Why a record that an application gave is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a record, or not a whole one.
    Record(ParseError),
    /// There are more bytes than the record says it has.
    Rest,
    /// No field has this number, or not one that applications may write.
    NotPermitted(TlvType),
    /// The field with this number has no such value, or another tag.
    Value(TlvType),
    /// The field with this number is there twice.
    Twice(TlvType),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(f),
            Self::Rest => f.write_str("behind the record there are more bytes"),
            Self::NotPermitted(tlv) => write!(f, "applications may not send field {tlv}"),
            Self::Value(tlv) => write!(f, "field {tlv} has no such value"),
            Self::Twice(tlv) => write!(f, "field {tlv} is there twice"),
        }
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_refusal_says_which_field_it_is_about() {
        let tlv = TlvType::new(7).unwrap();
        for (refusal, text) in [
            (
                Refusal::Record(ParseError::Version(2)),
                "record version 2 is not known here",
            ),
            (Refusal::Rest, "behind the record there are more bytes"),
            (
                Refusal::NotPermitted(tlv),
                "applications may not send field 7",
            ),
            (Refusal::Value(tlv), "field 7 has no such value"),
            (Refusal::Twice(tlv), "field 7 is there twice"),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }
}
