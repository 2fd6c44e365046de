//! What programs with generated code print of records, and what Rust says of the same.
//!
//! They read a record from each line of their input, in hexadecimal digits, and print a line for
//! each field, then the record that they make of the values that they found, and what becomes of
//! the record that was given when they set these values in it.

use crate::sample;
use pktmeta_core::{
    Kind, Record, Registry, Value,
    schema::{SchemaField, parse_record},
};

/// A record of each owner with all of its fields. They are the last of those that are compared.
pub(crate) fn with_all_fields() -> [Vec<u8>; 2] {
    ["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec())
}

pub(crate) fn input(carriers: &[Vec<u8>]) -> String {
    carriers
        .iter()
        .map(|carrier| format!("{}\n", hex(carrier)))
        .collect()
}

/// The numbers of the fields of both schemas, in their order.
pub(crate) fn numbers() -> Vec<String> {
    let registry = sample::registry();
    let fields = sample::fields();
    fields
        .iter()
        .map(|field| {
            let info = registry.by_name(field.wanted.name.as_str());
            info.unwrap().tlv.to_string()
        })
        .collect()
}

/// What a program printed of the carriers is what Rust finds in them.
#[track_caller]
pub(crate) fn compare(printed: &str, carriers: &[Vec<u8>]) {
    let registry = sample::registry();
    let fields = sample::fields();
    let mut printed = printed.lines();
    for carrier in carriers {
        let record = Record::parse(carrier).ok();
        let mut again = Record::new();
        let mut absent = 0;
        for field in &fields {
            let (line, value) = shown(field, record.as_ref(), &registry);
            assert_eq!(printed.next(), Some(line.as_str()), "{carrier:02x?}");
            match value {
                Some(bytes) => {
                    let tag = registry.by_name(field.wanted.name.as_str()).unwrap().tag();
                    again.set(tag, bytes).unwrap();
                }
                None => absent += 1,
            }
        }
        let again = match record {
            Some(_) => hex(again.as_bytes()),
            None => "none".into(),
        };
        let line = format!("again {again}");
        assert_eq!(printed.next(), Some(line.as_str()), "{carrier:02x?}");
        let kept = printed.next().and_then(|line| line.strip_prefix("kept "));
        check_kept(kept.unwrap(), record.as_ref(), &registry);
        let last = &carriers[carriers.len() - 2..];
        if last.contains(carrier) {
            let owners: Vec<_> = fields.iter().map(|field| field.wanted.owner).collect();
            let own = owners.iter().filter(|&&owner| owner == owners[0]).count();
            assert!([own, fields.len() - own].contains(&absent), "{absent}");
        }
    }
    assert_eq!(printed.next(), None);
}

/// `kept` has what `record` has, each field that has a value once.
#[track_caller]
fn check_kept(kept: &str, record: Option<&Record>, registry: &Registry) {
    let Some(record) = record else {
        return assert_eq!(kept, "none");
    };
    let (again, behind) = parse_record(kept).unwrap();
    assert_eq!(behind, 0, "{kept}");
    let read = |record| {
        let mut found: Vec<_> = registry.read(record).collect();
        found.sort_by_key(|(info, _)| info.tlv);
        found
    };
    assert_eq!(read(record), read(&again), "{record:?} became {again:?}");
    for (info, _) in registry.values(record) {
        let same = again.iter().filter(|(tag, _)| *tag == info.tag());
        assert_eq!(same.count(), 1, "{record:?} became {again:?}");
    }
}

/// A field of a record as the programs print it, and its bytes if there is a value.
fn shown<'a>(
    field: &SchemaField,
    record: Option<&'a Record>,
    registry: &Registry,
) -> (String, Option<&'a [u8]>) {
    let wanted = &field.wanted;
    let name = format!("{}_{}", wanted.owner, wanted.name);
    let Some(record) = record else {
        return (format!("{name} none"), None);
    };
    let tag = registry.by_name(wanted.name.as_str()).unwrap().tag();
    let found = record.get(tag).and_then(|bytes| {
        let value = Value::decode(wanted.kind, bytes)?;
        Some((bytes, value))
    });
    let Some((bytes, value)) = found else {
        return (format!("{name} absent"), None);
    };
    let value = match (value, wanted.kind) {
        (Value::Flag, _) => "set".into(),
        (Value::Bool(value), _) => u8::from(value).to_string(),
        (Value::Unsigned(value), Kind::Unsigned { size: 16 }) => format!("{value:032x}"),
        (Value::Signed(value), Kind::Signed { size: 16 }) => format!("{value:032x}"),
        (value @ (Value::Unsigned(_) | Value::Signed(_) | Value::Timestamp(_)), _) => {
            value.to_string()
        }
        (Value::Socket(address), _) => {
            format!("{} {}", hex(&bytes[..16]), address.port())
        }
        _ => hex(bytes),
    };
    (format!("{name} {value}"), Some(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
