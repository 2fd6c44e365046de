//! How a record is shown, in a line and in JSON.

use pktmeta_core::{
    Record,
    field::{Kind, Value},
    schema::{Dictionary, Entry, Meaning},
};
use serde_json::json;

/// The record in hex, its length, and its fields.
pub(crate) fn record_json(record: &Record, entries: &[Entry]) -> serde_json::Value {
    json!({
        "hex": hex(record.as_bytes()),
        "bytes": record.as_bytes().len(),
        "fields": entries.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a record in one line, as readers see them: `name=value` with blanks between.
pub(crate) fn record_line(dictionary: &Dictionary, record: &Record) -> String {
    let entries = dictionary.decode(record).into_iter();
    let seen = entries.filter(|entry| !entry.again);
    match &seen.map(|entry| entry.to_string()).collect::<Vec<_>>()[..] {
        [] => "no fields".into(),
        fields => fields.join(" "),
    }
}

/// The fields of a record by name, as readers see them; null if there is none. Those that are not
/// known are left out.
pub(crate) fn record_fields_json(
    dictionary: &Dictionary,
    record: Option<&Record>,
) -> serde_json::Value {
    let Some(record) = record else {
        return serde_json::Value::Null;
    };
    let entries = dictionary.decode(record).into_iter();
    let seen = entries.filter(|entry| !entry.again);
    seen.filter_map(|entry| Some((entry.info()?.name.to_string(), meaning_json(&entry))))
        .collect()
}

/// Nothing but its number and bytes is known of a field that is not registered.
fn entry_json(entry: &Entry) -> serde_json::Value {
    let info = entry.info();
    json!({
        "name": info.map(|info| info.name.to_string()),
        "owner": info.map(|info| info.owner.to_string()),
        "type": info.map(|info| info.kind.to_string()),
        "number": entry.number.get(),
        "value": meaning_json(entry),
        "text": entry.text(),
        "again": entry.again,
    })
}

/// Bytes that are no value of their field cannot be mistaken for one.
fn meaning_json(entry: &Entry) -> serde_json::Value {
    match &entry.meaning {
        Meaning::Value(known) => value_json(known.info.kind, &known.value),
        Meaning::Odd(_) => json!({ "odd": hex(&entry.bytes) }),
        Meaning::Unknown => serde_json::Value::Null,
    }
}

/// Integers as numbers, unless they have 128 bits: JSON's readers know none of these.
pub(crate) fn value_json(kind: Kind, value: &Value) -> serde_json::Value {
    let is_wide = kind.size() > 8;
    match value {
        Value::Flag => json!(true),
        Value::Bool(value) => json!(value),
        Value::Unsigned(value) if !is_wide => json!(*value as u64), // of at most 8 bytes
        Value::Signed(value) if !is_wide => json!(*value as i64),   // of at most 8 bytes
        Value::Timestamp(value) => json!(value.nanoseconds),
        _ => json!(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;
    use pktmeta_core::registry::Found;

    #[test]
    fn a_line_has_what_the_shared_cases_say() {
        let dictionary = Dictionary::new(vectors::registry(), &vectors::schemas());
        for case in vectors::cases() {
            let record = Record::parse(&case.bytes).ok();
            let line = record.map(|record| record_line(&dictionary, &record));
            assert_eq!(line.as_deref(), case.read, "{}", case.name);
        }
    }

    #[test]
    fn json_has_what_readers_find_and_says_what_is_odd() {
        let dictionary = Dictionary::new(vectors::registry(), &vectors::schemas());
        let cases = vectors::cases().into_iter().map(|case| case.bytes);
        for bytes in cases.chain(vectors::random(11, 2000)) {
            let Ok(record) = Record::parse(&bytes) else {
                continue;
            };
            let found = dictionary.registry().read(&record);
            let found = found.map(|(info, found)| {
                let value = match found {
                    Found::Value(value) => value_json(info.kind, &value),
                    Found::Odd(bytes) => json!({ "odd": hex(bytes) }),
                };
                (info.name.to_string(), value)
            });
            let found: serde_json::Value = found.collect();
            assert_eq!(
                record_fields_json(&dictionary, Some(&record)),
                found,
                "{bytes:02x?}"
            );
            let listed = record_json(&record, &dictionary.decode(&record));
            let listed = listed["fields"].as_array().unwrap().iter();
            let seen = listed.filter(|field| field["again"] == false && !field["name"].is_null());
            let seen: serde_json::Value = seen
                .map(|field| {
                    (
                        field["name"].as_str().unwrap().to_owned(),
                        field["value"].clone(),
                    )
                })
                .collect();
            assert_eq!(seen, found, "{bytes:02x?}");
        }
        assert_eq!(
            record_fields_json(&dictionary, None),
            serde_json::Value::Null
        );
    }
}
