//! The registry: which name has which TLV type on this host.

use crate::{
    abi,
    field::{Field, FieldName, FieldType, Kind, Value},
    record::{Record, TlvType},
};
use alloc::{string::String, vec::Vec};
use core::fmt;

/// The fields of one host, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Sorted by name.
    fields: Vec<FieldInfo>,
}

impl Registry {
    /// A registry without fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// Reads [`FieldInfo`]s that stand one after another; what is none is left out.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut fields: Vec<_> = bytes
            .chunks_exact(FieldInfo::SIZE)
            .filter_map(FieldInfo::from_bytes)
            .collect();
        fields.sort_by_key(|field| field.name);
        Self { fields }
    }

    /// The fields, by name.
    #[must_use]
    pub fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// The field called `name`.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&FieldInfo> {
        let at = self
            .fields
            .binary_search_by(|field| field.name.as_str().cmp(name))
            .ok()?;
        Some(&self.fields[at])
    }

    /// The field with this type.
    #[must_use]
    pub fn by_type(&self, tlv: TlvType) -> Option<&FieldInfo> {
        self.fields.iter().find(|field| field.tlv == tlv)
    }

    /// A field's value in `record`; `None` if it is not there, or is not registered with `T`'s
    /// type.
    #[must_use]
    pub fn get<T: FieldType>(&self, record: &Record, field: Field<T>) -> Option<T> {
        let info = self
            .by_name(field.name())
            .filter(|info| info.kind == T::KIND)?;
        T::decode(record.get(info.tlv)?)
    }

    /// Every value of `record` whose type is registered, with its field.
    pub fn values<'a>(
        &'a self,
        record: &'a Record,
    ) -> impl Iterator<Item = (&'a FieldInfo, Value)> + 'a {
        record.iter().filter_map(|(tlv, bytes)| {
            let info = self.by_type(tlv)?;
            Some((info, Value::decode(info.kind, bytes)?))
        })
    }

    /// Gives a field a TLV type, the one it has if it is registered with the same meaning.
    ///
    /// # Errors
    /// The name is taken for another meaning, or no type is left.
    pub fn register(&mut self, wanted: &Wanted) -> Result<FieldInfo, RegisterError> {
        if let Some(&taken) = self.by_name(wanted.name.as_str()) {
            let same = taken.owner == wanted.owner && taken.kind == wanted.kind;
            return if same {
                Ok(taken)
            } else {
                Err(RegisterError::Taken { taken })
            };
        }
        let tlv = (1..abi::FIELDS_MAX as u8)
            .filter_map(TlvType::new)
            .find(|&tlv| self.by_type(tlv).is_none())
            .ok_or(RegisterError::Full)?;
        let Wanted {
            name,
            owner,
            kind,
            policy,
        } = *wanted;
        let field = FieldInfo {
            name,
            owner,
            tlv,
            kind,
            policy,
        };
        let at = self.fields.partition_point(|other| other.name < name);
        self.fields.insert(at, field);
        Ok(field)
    }
}

/// A field before it has a TLV type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, unique on the host.
    pub name: FieldName,
    /// Who defined it.
    pub owner: FieldName,
    /// Its type.
    pub kind: Kind,
    /// What its owner allows.
    pub policy: Policy,
}

/// A registered field: what `getsockopt(PKTMETA_FIELD_INFO)` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name, unique on the host.
    pub name: FieldName,
    /// Who defined it.
    pub owner: FieldName,
    /// Its number in records.
    pub tlv: TlvType,
    /// Its type.
    pub kind: Kind,
    /// What its owner allows.
    pub policy: Policy,
}

impl FieldInfo {
    /// Bytes of one in the ABI: name (28), owner (28), TLV type, kind, size, policy (1 each), 4
    /// reserved.
    pub const SIZE: usize = 2 * FieldName::CAPACITY + 8;

    /// Its bytes in the ABI.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (names, numbers) = bytes.split_at_mut(2 * FieldName::CAPACITY);
        let (name, owner) = names.split_at_mut(FieldName::CAPACITY);
        name.copy_from_slice(self.name.as_padded());
        owner.copy_from_slice(self.owner.as_padded());
        numbers[..4].copy_from_slice(&[
            self.tlv.get(),
            self.kind.code(),
            self.kind.size(),
            self.policy.bits(),
        ]);
        bytes
    }

    /// Reads what [`FieldInfo::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let (names, numbers) = bytes.split_at(2 * FieldName::CAPACITY);
        let (name, owner) = names.split_at(FieldName::CAPACITY);
        Some(Self {
            name: FieldName::from_padded(name)?,
            owner: FieldName::from_padded(owner)?,
            tlv: TlvType::new(numbers[0])?,
            kind: Kind::from_code(numbers[1], numbers[2])?,
            policy: Policy::from_bits(numbers[3])?,
        })
    }
}

/// What a field's owner allows, kept with the registered field for the programs that act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Read on most packets: worth a place near the record's front.
    pub hot: bool,
    /// May leave the host in packet bytes.
    pub wire: bool,
    /// XDP programs may write it.
    pub xdp: bool,
    /// TC programs may write it.
    pub tc: bool,
    /// Applications may write it.
    pub app: bool,
}

impl Policy {
    /// The policy as bits: 0 hot, 1 wire, 2 xdp, 3 tc, 4 app.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.hot as u8
            | (self.wire as u8) << 1
            | (self.xdp as u8) << 2
            | (self.tc as u8) << 3
            | (self.app as u8) << 4
    }

    /// Reads [`Policy::bits`]; `None` if a bit is set that this build does not know.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits >> 5 != 0 {
            return None;
        }
        Some(Self {
            hot: bits & 1 != 0,
            wire: bits & 1 << 1 != 0,
            xdp: bits & 1 << 2 != 0,
            tc: bits & 1 << 3 != 0,
            app: bits & 1 << 4 != 0,
        })
    }
}

/// Why a field was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name has another meaning on this host.
    Taken {
        /// The meaning it has.
        taken: FieldInfo,
    },
    /// Every TLV type is given away.
    Full,
}

impl RegisterError {
    /// Says what became of `wanted`, with both sides of a conflict.
    #[must_use]
    pub fn describe(&self, wanted: &Wanted) -> String {
        let Wanted {
            name, owner, kind, ..
        } = wanted;
        match self {
            Self::Taken { taken } => alloc::format!(
                "field {name}: owner {owner} wants it as {kind}, but owner {} has it as {} on this \
                 host",
                taken.owner,
                taken.kind
            ),
            Self::Full => alloc::format!(
                "field {name} of owner {owner}: all {} field numbers of this host are given away",
                abi::FIELDS_MAX - 1
            ),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "rename one of the two, or make both schemas say the same",
            Self::Full => {
                "take fields that nobody uses out of the schemas, then `pktmeta down` and `up`"
            }
        }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { taken } => {
                write!(
                    f,
                    "field {} is {} of owner {}",
                    taken.name, taken.kind, taken.owner
                )
            }
            Self::Full => f.write_str("no field number is left"),
        }
    }
}

impl core::error::Error for RegisterError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(owner: &str, name: &str, kind: &str) -> Wanted {
        Wanted {
            name: FieldName::parse(name).unwrap(),
            owner: FieldName::parse(owner).unwrap(),
            kind: Kind::parse(kind).unwrap(),
            policy: Policy {
                tc: true,
                ..Policy::default()
            },
        }
    }

    #[test]
    fn registering_twice_gives_the_same_type() {
        let mut registry = Registry::new();
        let tenant = registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        let zone = registry.register(&wanted("edge", "a_zone", "u8")).unwrap();
        assert_ne!(tenant.tlv, zone.tlv);
        assert_eq!(
            registry.register(&wanted("edge", "tenant", "u32")),
            Ok(tenant)
        );
        assert_eq!(registry.by_name("tenant"), Some(&tenant));
        assert_eq!(registry.by_type(zone.tlv), Some(&zone));
        assert_eq!(registry.fields().len(), 2);
    }

    #[test]
    fn a_conflict_shows_both_sides() {
        let mut registry = Registry::new();
        registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        for other in [
            wanted("dns", "tenant", "u32"),
            wanted("edge", "tenant", "u64"),
        ] {
            let message = registry.register(&other).unwrap_err().describe(&other);
            for part in [
                "tenant",
                "edge",
                "u32",
                other.owner.as_str(),
                &other.kind.to_string(),
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
        assert_eq!(registry.fields().len(), 1);
    }

    #[test]
    fn a_full_registry_says_so() {
        let mut registry = Registry::new();
        for n in 1..abi::FIELDS_MAX {
            registry
                .register(&wanted("edge", &alloc::format!("field{n}"), "u8"))
                .unwrap();
        }
        let last = wanted("edge", "one_more", "u8");
        assert_eq!(registry.register(&last), Err(RegisterError::Full));
    }

    #[test]
    fn a_field_is_read_only_with_the_type_it_is_registered_with() {
        let mut registry = Registry::new();
        let tenant = registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        let mut record = Record::new();
        record.set(tenant.tlv, &7u32.to_le_bytes()).unwrap();
        assert_eq!(registry.get(&record, Field::<u32>::new("tenant")), Some(7));
        assert_eq!(registry.get(&record, Field::<[u8; 4]>::new("tenant")), None);
        assert_eq!(registry.get(&record, Field::<u32>::new("tenants")), None);
        let values: Vec<_> = registry.values(&record).collect();
        assert_eq!(values, [(&tenant, Value::Unsigned(7))]);
    }

    proptest! {
        #[test]
        fn a_registry_reads_back_from_its_bytes(names in proptest::collection::btree_set("[a-z][a-z0-9_]{0,26}", 0..63)) {
            let mut registry = Registry::new();
            for name in &names {
                registry.register(&wanted("edge", name, "u16")).unwrap();
            }
            let bytes: Vec<u8> =
                registry.fields().iter().rev().flat_map(|field| field.to_bytes()).collect();
            prop_assert_eq!(Registry::from_bytes(&bytes), registry);
        }

        #[test]
        fn no_bytes_make_a_registry_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Registry::from_bytes(&bytes);
        }
    }
}
