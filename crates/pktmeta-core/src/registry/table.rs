//! The table of a host's fields.

use super::{
    error::RegisterError,
    field::{FieldInfo, Wanted},
    layout::{self, Layout},
    policy::Policy,
};
use crate::{
    field::{Field, FieldType, NameKey},
    record::{Record, TlvType},
    seal::Secret,
};
use alloc::vec::Vec;

/// The fields of one host, by name.
///
/// A number belongs to one meaning for as long as the registry lives: a removed field keeps its
/// number, retired, because sockets may still hold records with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    id: u32,
    secret: Option<Secret>,
    /// Sorted by name.
    fields: Vec<FieldInfo>,
    /// Sorted by number.
    retired: Vec<FieldInfo>,
}

impl Registry {
    /// A registry without fields.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            id: 0,
            secret: None,
            fields: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The same registry with the id that a host gave it.
    #[must_use]
    pub const fn with_id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// The number that tells it from all other registries, whose TLV types mean nothing here. 0 if
    /// no host has it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The same registry with the secret that proves its records.
    #[must_use]
    pub const fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The secret that proves its records in front of packets. `None` where it is not known, as in
    /// applications.
    #[must_use]
    pub const fn secret(&self) -> Option<Secret> {
        self.secret
    }

    /// A hash of the id and of every field: two registries that differ have different hashes, but
    /// for a chance of 1 in 2^64. It is the 64-bit FNV-1a of the id and of each field's bytes, by
    /// name.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let id = self.id.to_le_bytes();
        let fields = self.fields.iter().flat_map(FieldInfo::to_bytes);
        id.into_iter()
            .chain(fields)
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// Reads [`FieldInfo`]s that stand one after another. It leaves out bytes that are none, a
    /// number that was there before, and places that do not follow each other.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let infos = bytes
            .chunks_exact(FieldInfo::SIZE)
            .filter_map(FieldInfo::from_bytes);
        let mut seen = 0u64;
        let infos = infos.filter(|info| {
            let number = 1 << info.tlv.get(); // <= TlvType::MAX
            let first = seen & number == 0;
            seen |= number;
            first
        });
        let (mut retired, mut fields): (Vec<_>, Vec<_>) =
            infos.partition(|field| field.policy.retired);
        fields.sort_by_key(|field| field.name);
        retired.sort_by_key(|field| field.tlv);
        layout::drop_stray_places(&mut fields, &mut retired);
        Self {
            id: 0,
            secret: None,
            fields,
            retired,
        }
    }

    /// The fields, by name.
    #[must_use]
    pub fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// The removed fields, by number.
    #[must_use]
    pub fn retired(&self) -> &[FieldInfo] {
        &self.retired
    }

    /// The field called `name`.
    #[must_use]
    #[inline]
    pub fn by_name(&self, name: &str) -> Option<&FieldInfo> {
        self.by_key(&NameKey::new(name))
    }

    /// The field with this type.
    #[must_use]
    pub fn by_type(&self, tlv: TlvType) -> Option<&FieldInfo> {
        self.fields.iter().find(|field| field.tlv == tlv)
    }

    /// A field's value in `record`; `None` if it is not there, or is not registered with `T`'s
    /// type.
    #[must_use]
    #[inline]
    pub fn get<T: FieldType>(&self, record: &Record, field: Field<T>) -> Option<T> {
        let info = self
            .by_key(field.key())
            .filter(|info| info.kind == T::KIND)?;
        T::decode(record.get(T::KIND.tag(info.tlv))?)
    }

    /// Gives a field a TLV type: a new one, or the one it has if it is registered with the same
    /// meaning. Its policy becomes the wanted one.
    ///
    /// # Errors
    /// The name is taken for another meaning, or no type is left.
    pub fn register(&mut self, wanted: &Wanted) -> Result<FieldInfo, RegisterError> {
        let same = |field: &FieldInfo| {
            (field.name, field.owner, field.kind) == (wanted.name, wanted.owner, wanted.kind)
        };
        if let Some(taken) = self
            .by_name(wanted.name.as_str())
            .filter(|taken| !same(taken))
        {
            return Err(RegisterError::Taken {
                owner: wanted.owner,
                kind: wanted.kind,
                taken: *taken,
            });
        }
        let before = self
            .fields
            .iter()
            .chain(&self.retired)
            .find(|field| same(field));
        let mut field = match before {
            Some(before) => *before,
            None => FieldInfo {
                name: wanted.name,
                owner: wanted.owner,
                tlv: self
                    .free_type()
                    .ok_or(RegisterError::Full { wanted: *wanted })?,
                kind: wanted.kind,
                place: None,
                policy: wanted.policy,
            },
        };
        let kept = before.is_some_and(|before| before.policy.kept && !before.policy.retired);
        field.policy = Policy {
            kept: wanted.policy.kept || kept,
            ..wanted.policy
        };
        if field.policy.hot && field.place.is_none() {
            field.place = layout::place_for(self.fields.iter().chain(&self.retired), field.kind);
        }
        self.retired.retain(|retired| retired.tlv != field.tlv);
        match self.position(&field.name.key()) {
            Some(at) => self.fields[at] = field,
            None => {
                let at = self.fields.partition_point(|other| other.name < field.name);
                self.fields.insert(at, field);
            }
        }
        Ok(field)
    }

    /// Removes a field. Its number is not given to another.
    pub fn remove(&mut self, name: &str) -> Option<FieldInfo> {
        let mut field = self.fields.remove(self.position(&NameKey::new(name))?);
        field.policy.retired = true;
        let at = self.retired.partition_point(|other| other.tlv < field.tlv);
        self.retired.insert(at, field);
        Some(field)
    }

    /// The places of hot fields, and the bytes that a record may need.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.fields, &self.retired)
    }

    #[inline]
    fn by_key(&self, key: &NameKey) -> Option<&FieldInfo> {
        self.position(key).map(|at| &self.fields[at])
    }

    #[inline]
    fn position(&self, key: &NameKey) -> Option<usize> {
        self.fields
            .binary_search_by(|field| field.name.key().cmp(key))
            .ok()
    }

    fn free_type(&self) -> Option<TlvType> {
        let taken = |tlv| {
            self.fields
                .iter()
                .chain(&self.retired)
                .any(|field| field.tlv == tlv)
        };
        (1..=TlvType::MAX)
            .filter_map(TlvType::new)
            .find(|&tlv| !taken(tlv))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Value;
    use proptest::prelude::*;

    fn wanted(owner: &str, name: &str, kind: &str) -> Wanted {
        Wanted::new(
            name.parse().unwrap(),
            owner.parse().unwrap(),
            kind.parse().unwrap(),
        )
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
    fn only_its_name_finds_a_field() {
        let mut registry = Registry::new();
        let longest = "x".repeat(27);
        for name in ["x", longest.as_str()] {
            let field = registry.register(&wanted("edge", name, "u32")).unwrap();
            assert_eq!(registry.by_name(name), Some(&field));
            for suffix in ["\0", "\0\0", "\0x", "y"] {
                let other = [name, suffix].concat();
                assert_eq!(registry.by_name(&other), None, "{other:?}");
                assert_eq!(registry.remove(&other), None, "{other:?}");
            }
        }
        for other in ["", "\0", "\0x", "X", "é"] {
            assert_eq!(registry.by_name(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_conflict_shows_both_sides() {
        let mut registry = Registry::new();
        registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        for other in [
            wanted("dns", "tenant", "u32"),
            wanted("edge", "tenant", "u64"),
        ] {
            let message = registry.register(&other).unwrap_err().to_string();
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
        for n in 1..=TlvType::MAX {
            registry
                .register(&wanted("edge", &alloc::format!("field{n}"), "u8"))
                .unwrap();
        }
        let last = wanted("edge", "one_more", "u8");
        assert_eq!(
            registry.register(&last),
            Err(RegisterError::Full { wanted: last })
        );
    }

    #[test]
    fn a_field_is_read_only_with_the_type_it_is_registered_with() {
        let mut registry = Registry::new();
        let tenant = registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        let mut record = Record::new();
        record.set(tenant.tag(), &7u32.to_le_bytes()).unwrap();
        assert_eq!(registry.get(&record, Field::<u32>::new("tenant")), Some(7));
        assert_eq!(registry.get(&record, Field::<[u8; 4]>::new("tenant")), None);
        assert_eq!(registry.get(&record, Field::<u32>::new("tenants")), None);
        let values: Vec<_> = registry.values(&record).collect();
        assert_eq!(values, [(&tenant, Value::Unsigned(7))]);
    }

    #[test]
    fn a_removed_field_keeps_its_number_and_comes_back_with_it() {
        let mut registry = Registry::new();
        let tenant = registry.register(&wanted("edge", "tenant", "u32")).unwrap();
        assert_eq!(
            registry.remove("tenant").map(|field| field.tlv),
            Some(tenant.tlv)
        );
        assert_eq!(registry.remove("tenant"), None);
        assert_eq!(
            (registry.by_name("tenant"), registry.by_type(tenant.tlv)),
            (None, None)
        );
        let other = registry.register(&wanted("dns", "tenant", "u64")).unwrap();
        assert_ne!(other.tlv, tenant.tlv);
        registry.remove("tenant").unwrap();
        assert_eq!(registry.retired().len(), 2);
        assert_eq!(
            registry.register(&wanted("edge", "tenant", "u32")),
            Ok(tenant)
        );
        assert_eq!(registry.retired().len(), 1);
    }

    #[test]
    fn a_field_keeps_its_place_and_nobody_else_gets_it() {
        let mut registry = Registry::new();
        let hot = |name| {
            let mut wanted = wanted("edge", name, "u32");
            wanted.policy.hot = true;
            wanted
        };
        let first = registry.register(&hot("z_first")).unwrap();
        let second = registry.register(&hot("second")).unwrap();
        assert_eq!((first.place, second.place), (Some(4), Some(9)));
        registry.remove("z_first").unwrap();
        assert_eq!(registry.register(&hot("third")).unwrap().place, Some(14));
        let cooled = registry.register(&wanted("edge", "second", "u32")).unwrap();
        assert_eq!((cooled.place, cooled.policy.hot), (Some(9), false));
        assert_eq!(registry.register(&hot("z_first")), Ok(first));
        let layout = registry.layout();
        assert_eq!(
            layout.template.as_bytes(),
            [
                b'P', b'M', 0x13, 19, 0x80, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0x80, 0, 0, 0, 0
            ]
        );
        assert_eq!(layout.area, 32);
    }

    #[test]
    fn registries_that_differ_have_different_hashes() {
        let of = |owner, name, kind| {
            let mut registry = Registry::new();
            registry.register(&wanted(owner, name, kind)).unwrap();
            registry
        };
        let registries = [
            Registry::new(),
            Registry::new().with_id(7),
            of("edge", "tenant", "u32"),
            of("edge", "tenant", "u64"),
            of("edge", "zone", "u32"),
            of("lab", "tenant", "u32"),
        ];
        for (at, one) in registries.iter().enumerate() {
            assert_eq!(one.hash(), one.clone().hash());
            for other in &registries[..at] {
                assert_ne!(one.hash(), other.hash(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_hash_is_the_fnv_1a_of_a_registrys_bytes() {
        assert_eq!(Registry::new().with_id(7).hash(), 0x6d35_7266_9b2c_de42);
    }

    #[test]
    fn a_field_that_is_kept_stays_so_until_it_is_removed() {
        let mut registry = Registry::new();
        let mut kept = wanted("edge", "tenant", "u32");
        kept.policy.kept = true;
        registry.register(&kept).unwrap();
        let again = wanted("edge", "tenant", "u32");
        assert!(registry.register(&again).unwrap().policy.kept);
        registry.remove("tenant").unwrap();
        assert!(!registry.register(&again).unwrap().policy.kept);
    }

    #[test]
    fn a_number_that_comes_twice_and_a_place_that_follows_none_are_left_out() {
        let mut registry = Registry::new();
        let mut hot = wanted("edge", "tenant", "u32");
        hot.policy.hot = true;
        let tenant = registry.register(&hot).unwrap();
        let same_number = FieldInfo {
            name: "zone".parse().unwrap(),
            ..tenant
        };
        let stray = FieldInfo {
            name: "stray".parse().unwrap(),
            tlv: TlvType::new(9).unwrap(),
            place: Some(20),
            ..tenant
        };
        let bytes = [tenant, same_number, stray].map(|it| it.to_bytes());
        let read = Registry::from_bytes(bytes.as_flattened());
        let placeless = FieldInfo {
            place: None,
            ..stray
        };
        assert_eq!(read.fields(), [placeless, tenant]);
    }

    proptest! {
        #[test]
        fn a_registry_reads_back_from_its_bytes(
            names in proptest::collection::btree_set("[a-z][a-z0-9_]{0,26}", 0..63),
        ) {
            let mut registry = Registry::new();
            for (at, name) in names.iter().enumerate() {
                let mut wanted = wanted("edge", name, "u16");
                wanted.policy.hot = at % 2 == 0;
                registry.register(&wanted).unwrap();
            }
            for name in names.iter().step_by(3) {
                registry.remove(name);
            }
            let bytes: Vec<u8> = registry
                .retired()
                .iter()
                .chain(registry.fields())
                .rev()
                .flat_map(|field| field.to_bytes())
                .collect();
            prop_assert_eq!(Registry::from_bytes(&bytes), registry);
        }

        #[test]
        fn no_bytes_make_a_registry_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Registry::from_bytes(&bytes);
        }
    }
}
