//! Values with the names of their fields, which become a record on a host that has numbers for
//! them.

use crate::{
    field::{Field, FieldType, Kind},
    record::{Record, SetError, TlvType},
    registry::Registry,
};
use core::fmt;

/// Values that become a record once the numbers of a host are known.
///
/// These are values: one field's, [`Field::with`]; the `Record` of a module that `pktmeta gen rust`
/// made; tuples and slices of values; an `Option`, where `None` is no values; and a [`Record`],
/// whose numbers must be the host's.
///
/// ```
/// use pktmeta_core::{Field, ToRecord};
/// # use pktmeta_core::{FieldName, Kind, Registry, registry::Wanted};
/// const TENANT: Field<u32> = Field::new("tenant");
/// const ZONE: Field<u8> = Field::new("zone");
/// # let mut registry = Registry::new();
/// # for (name, kind) in [("tenant", "u32"), ("zone", "u8")] {
/// #     let name: FieldName = name.parse()?;
/// #     let kind: Kind = kind.parse()?;
/// #     registry.register(&Wanted::new(name, name, kind))?;
/// # }
/// let zone = Some(3);
/// let record = (TENANT.with(7), zone.map(|zone| ZONE.with(zone))).to_record(&registry)?;
/// assert_eq!(registry.get(&record, TENANT), Some(7));
/// assert_eq!(registry.get(&record, ZONE), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ToRecord {
    /// Sets the values in `record`, with the numbers that `registry` gives to their fields.
    ///
    /// # Errors
    /// The host does not have a field with that type, or the record has no room. Some of the values
    /// may be set.
    fn put_into(&self, record: &mut Record, registry: &Registry) -> Result<(), RecordError>;

    /// A record with these values and no others.
    ///
    /// # Errors
    /// As [`ToRecord::put_into`].
    fn to_record(&self, registry: &Registry) -> Result<Record, RecordError> {
        let mut record = Record::new();
        self.put_into(&mut record, registry)?;
        Ok(record)
    }
}

/// A field and a value for it: [`Field::with`].
#[derive(Clone, Copy)]
pub struct With<T> {
    field: Field<T>,
    value: T,
}

impl<T: FieldType> Field<T> {
    /// The field with a value, to be sent.
    #[must_use]
    pub const fn with(self, value: T) -> With<T> {
        With { field: self, value }
    }
}

impl<T: FieldType + fmt::Debug> fmt::Debug for With<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.field.name(), self.value)
    }
}

impl<T: FieldType> ToRecord for With<T> {
    fn put_into(&self, record: &mut Record, registry: &Registry) -> Result<(), RecordError> {
        registry.put(record, self.field, &self.value)
    }
}

impl ToRecord for Record {
    fn put_into(&self, record: &mut Record, _: &Registry) -> Result<(), RecordError> {
        record.merge(self).map_err(no_room)
    }
}

impl<R: ToRecord> ToRecord for Option<R> {
    fn put_into(&self, record: &mut Record, registry: &Registry) -> Result<(), RecordError> {
        self.iter()
            .try_for_each(|values| values.put_into(record, registry))
    }
}

impl<R: ToRecord> ToRecord for [R] {
    fn put_into(&self, record: &mut Record, registry: &Registry) -> Result<(), RecordError> {
        self.iter()
            .try_for_each(|values| values.put_into(record, registry))
    }
}

impl<R: ToRecord + ?Sized> ToRecord for &R {
    fn put_into(&self, record: &mut Record, registry: &Registry) -> Result<(), RecordError> {
        (**self).put_into(record, registry)
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: ToRecord),*> ToRecord for ($($name,)*) {
            #[allow(
                non_snake_case,
                unused_variables,
                reason = "variables have the names of types, and `()` has none"
            )]
            fn put_into(
                &self,
                record: &mut Record,
                registry: &Registry,
            ) -> Result<(), RecordError> {
                let ($($name,)*) = self;
                $($name.put_into(record, registry)?;)*
                Ok(())
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

impl Registry {
    /// Sets a field of `record` by name.
    ///
    /// # Errors
    /// As [`ToRecord::put_into`]; the record is unchanged.
    pub fn put<T: FieldType>(
        &self,
        record: &mut Record,
        field: Field<T>,
        value: &T,
    ) -> Result<(), RecordError> {
        let tlv = self.number(field)?;
        record.set_value(tlv, value).map_err(no_room)
    }

    /// The number of a field.
    ///
    /// # Errors
    /// The host does not have a field with that name and type.
    pub fn number<T: FieldType>(&self, field: Field<T>) -> Result<TlvType, RecordError> {
        let (field, here) = (field.name(), T::KIND);
        let info = self
            .by_name(field)
            .ok_or(RecordError::Unregistered { field })?;
        let host = info.kind;
        if host != here {
            return Err(RecordError::Kind { field, here, host });
        }
        Ok(info.tlv)
    }
}

/// Why values do not become a record on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The host has no field of that name.
    Unregistered {
        /// The field's name.
        field: &'static str,
    },
    /// The host has a field of that name whose type is another.
    Kind {
        /// The field's name.
        field: &'static str,
        /// Its type in this program.
        here: Kind,
        /// Its type on the host.
        host: Kind,
    },
    /// The values need more room than a record has, [`Record::CAPACITY`].
    NoRoom,
}

impl RecordError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unregistered { .. } => {
                "register the field's schema on this host: `pktmeta registry register`"
            }
            Self::Kind { .. } => "build the program with the schema that the host has",
            Self::NoRoom => "set fewer fields",
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered { field } => write!(f, "set {field}: this host has no such field"),
            Self::Kind { field, here, host } => write!(
                f,
                "set {field}: it is {here} in this program and {host} on this host"
            ),
            Self::NoRoom => write!(
                f,
                "the record would be longer than {} bytes",
                Record::CAPACITY
            ),
        }
    }
}

impl core::error::Error for RecordError {}

/// The sizes are those of the type: only room can be missing.
fn no_room(_: SetError) -> RecordError {
    RecordError::NoRoom
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldName, registry::Wanted};

    const TENANT: Field<u32> = Field::new("tenant");
    const ZONE: Field<u8> = Field::new("zone");
    const BLOB: Field<[u8; 64]> = Field::new("blob");

    fn registry() -> Registry {
        let mut registry = Registry::new();
        for (name, kind) in [("tenant", "u32"), ("zone", "u8"), ("blob", "bytes[64]")] {
            let name: FieldName = name.parse().unwrap();
            let wanted = Wanted::new(name, name, kind.parse().unwrap());
            registry.register(&wanted).unwrap();
        }
        registry
    }

    #[test]
    fn why_values_are_no_record_is_said_with_the_field_and_what_to_do() {
        use alloc::string::ToString;
        let field = "tenant";
        let [here, host] = ["u32", "u64"].map(|kind| kind.parse().unwrap());
        for (error, message, remedy) in [
            (
                RecordError::Unregistered { field },
                "set tenant: this host has no such field",
                "pktmeta registry register",
            ),
            (
                RecordError::Kind { field, here, host },
                "set tenant: it is u32 in this program and u64 on this host",
                "the schema that the host has",
            ),
            (
                RecordError::NoRoom,
                "the record would be longer than 216 bytes",
                "set fewer fields",
            ),
        ] {
            assert_eq!(error.to_string(), message);
            assert!(error.remedy().contains(remedy), "{}", error.remedy());
        }
    }

    #[test]
    fn values_are_put_together_in_any_way() {
        let registry = registry();
        let both = (TENANT.with(7), ZONE.with(3)).to_record(&registry).unwrap();
        assert_eq!(registry.get(&both, TENANT), Some(7));
        assert_eq!(registry.get(&both, ZONE), Some(3));
        let nested = (TENANT.with(7), (Some(ZONE.with(3)), None::<With<u8>>));
        assert_eq!(nested.to_record(&registry), Ok(both));
        let dynamic: [&dyn ToRecord; 2] = [&TENANT.with(7), &ZONE.with(3)];
        assert_eq!(dynamic.to_record(&registry), Ok(both));
        // The last counts.
        let again = (both, TENANT.with(8)).to_record(&registry).unwrap();
        assert_eq!(registry.get(&again, TENANT), Some(8));
        assert_eq!(().to_record(&registry), Ok(Record::new()));
    }

    #[test]
    fn values_that_a_host_cannot_have_are_refused_with_the_reason() {
        let registry = registry();
        let unknown = Field::<u32>::new("nobody").with(1).to_record(&registry);
        assert_eq!(unknown, Err(RecordError::Unregistered { field: "nobody" }));
        let message = Field::<u64>::new("tenant")
            .with(1)
            .to_record(&registry)
            .unwrap_err()
            .to_string();
        assert!(message.contains("u64 in this program and u32 on this host"));
        let mut full = Registry::new();
        for name in ["a", "b", "c", "d"] {
            let name: FieldName = name.parse().unwrap();
            let wanted = Wanted::new(name, name, Kind::Bytes { size: 64 });
            full.register(&wanted).unwrap();
        }
        let blobs = ["a", "b", "c", "d"].map(|name| Field::<[u8; 64]>::new(name).with([1; 64]));
        assert_eq!(blobs.to_record(&full), Err(RecordError::NoRoom));
        assert!(blobs[..3].to_record(&full).is_ok());
        assert!(BLOB.with([1; 64]).to_record(&registry).is_ok());
    }
}
