//! Two schemas that together use every kind and every policy, and records of their fields.

pub(crate) use crate::vectors::{registry, schemas};
use pktmeta_core::{Record, schema::SchemaField};

pub(crate) fn fields() -> Vec<SchemaField> {
    schemas()
        .iter()
        .flat_map(|schema| schema.fields().to_vec())
        .collect()
}

/// What each field of a record shows: the extremes of its type, names, and both families of
/// addresses.
pub(crate) const VALUES: [(&str, &str); 27] = [
    ("tenant", "4294967295"),
    ("verdict", "drop"),
    ("seen", "internal|late"),
    ("rx_time", "18446744073709551615"),
    ("original_destination", "192.0.2.1:53"),
    ("client", "198.51.100.7"),
    ("client6", "2001:db8::1"),
    ("next_hop", "02:00:5e:00:53:01"),
    ("trace_id", "338770000845734292534325025077361652240"),
    ("cookie", "00ff10"),
    ("sampled", "true"),
    ("type", "255"),
    ("int", "4660"),
    ("self", "1311768467463790320"),
    ("new", "-128"),
    ("linux", "-2"),
    ("delta", "-2147483648"),
    ("offset_ns", "-9223372036854775808"),
    ("wide", "-170141183460469231731687303715884105728"),
    ("option", "max"),
    ("big", "all"),
    ("b", "high"),
    ("bits", "low|high"),
    ("flags", "low|high"),
    ("match", "true"),
    ("digest", "000102030405060708090a0b0c0d0e0f10111213"),
    ("blob", ""),
];

/// A record with all fields of an owner, at the values above.
pub(crate) fn record(owner: &str) -> Record {
    let registry = registry();
    let mut record = Record::new();
    let fields = fields();
    let of_owner = fields
        .iter()
        .filter(|field| field.wanted.owner.as_str() == owner);
    for field in of_owner {
        let name = field.wanted.name.as_str();
        let (_, text) = VALUES.iter().find(|(other, _)| *other == name).unwrap();
        let value = field.parse_value(text).unwrap();
        let bytes = value.encode(field.wanted.kind).unwrap();
        let tag = registry.by_name(name).unwrap().tag();
        record.set(tag, &bytes).unwrap();
    }
    record
}
