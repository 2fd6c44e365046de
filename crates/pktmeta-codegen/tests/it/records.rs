//! What programs with generated code print of records, and what Rust says of the same.
//!
//! They read a record from each line of their input, in hexadecimal digits, and print a line for each
//! field, then the record that they make of the values that they found.

use crate::sample;
use pktmeta_core::{Kind, Record, Registry, Value, schema::SchemaField};

/// Bytes that are records, and others that are not; the last two have all fields.
pub(crate) fn carriers() -> Vec<Vec<u8>> {
    let mut carriers = broken();
    let whole = carriers
        .iter()
        .filter(|carrier| Record::parse(carrier).is_ok());
    assert!(
        (500..3500).contains(&whole.count()),
        "some are records, some are not"
    );
    carriers.extend(["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec()));
    carriers
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
        let last = &carriers[carriers.len() - 2..];
        if last.contains(carrier) {
            let owners: Vec<_> = fields.iter().map(|field| field.wanted.owner).collect();
            let own = owners.iter().filter(|&&owner| owner == owners[0]).count();
            assert!([own, fields.len() - own].contains(&absent), "{absent}");
        }
    }
    assert_eq!(printed.next(), None);
}

/// Records with bytes changed, cut and added: some are still records, some are not.
fn broken() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let whole = ["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec());
    let mut broken = vec![Vec::new()];
    for record in &whole {
        broken.extend((0..record.len()).map(|length| record[..length].to_vec()));
        for _ in 0..2000 {
            let mut record = record.clone();
            for _ in 0..=random(3) {
                let at = random(record.len());
                record[at] = random(256) as u8;
            }
            match random(4) {
                0 => record.truncate(random(record.len())),
                1 => record.extend([0, 0, 7]),
                // Shorter by its own account.
                2 => record[3] = random(usize::from(record[3]).max(1)) as u8,
                _ => {}
            }
            broken.push(record);
        }
    }
    broken
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
        (Value::Ipv4(_) | Value::Ipv6(_) | Value::Mac(_) | Value::Bytes(_), _) => hex(bytes),
    };
    (format!("{name} {value}"), Some(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
