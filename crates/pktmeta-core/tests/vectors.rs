//! The shared cases, read and set by this crate.

#[path = "../vectors/mod.rs"]
mod vectors;

use pktmeta_core::{
    Record, Value,
    registry::{Found, Refusal},
    schema::Dictionary,
};
use vectors::{Set, cases, random, registry, schemas};

/// What readers see of a record, as the cases have it.
fn shown(dictionary: &Dictionary, record: &Record) -> String {
    let entries = dictionary.decode(record);
    let seen = entries.iter().filter(|entry| !entry.again);
    match &seen.map(ToString::to_string).collect::<Vec<_>>()[..] {
        [] => "no fields".into(),
        fields => fields.join(" "),
    }
}

#[test]
fn readers_find_what_the_cases_say() {
    let dictionary = Dictionary::new(registry(), &schemas());
    for case in cases() {
        let record = Record::parse(&case.bytes).ok();
        let read = record.map(|record| shown(&dictionary, &record));
        assert_eq!(read.as_deref(), case.read, "{}", case.name);
    }
}

#[test]
fn setters_say_what_the_cases_say() {
    let registry = registry();
    for case in cases() {
        let said = match registry.given(&case.bytes) {
            Ok(Some(record)) => {
                assert_eq!(record.as_bytes(), case.bytes, "{}", case.name);
                Set::Ok
            }
            Ok(None) => Set::Ends,
            Err(Refusal::NotPermitted(_)) => Set::NotPermitted,
            Err(_) => Set::Invalid,
        };
        assert_eq!(said, case.set, "{}", case.name);
    }
}

#[test]
fn every_kind_has_its_share_of_the_random_records() {
    let registry = registry();
    let (mut records, mut twice, mut odd, mut given) = (0, 0, 0, 0);
    let carriers = random(1, 4000);
    for carrier in &carriers {
        let Ok(record) = Record::parse(carrier) else {
            continue;
        };
        records += 1;
        let tags: Vec<_> = record.iter().map(|(tag, _)| tag).collect();
        twice += usize::from((1..tags.len()).any(|at| tags[..at].contains(&tags[at])));
        let is_odd = |found: &Found<'_>| matches!(found, Found::Odd(_));
        odd += usize::from(registry.read(&record).any(|(_, found)| is_odd(&found)));
        given += usize::from(matches!(registry.given(carrier), Ok(Some(_))));
    }
    assert!((2000..3950).contains(&records), "{records} records");
    assert!(
        twice > 500 && odd > 500 && given > 40,
        "{twice} {odd} {given}"
    );
}

/// What a reader by name finds is what one that reads all finds, whatever else is in the record.
#[test]
fn one_field_is_read_as_all_are() {
    let registry = registry();
    for carrier in random(2, 4000) {
        let Ok(record) = Record::parse(&carrier) else {
            continue;
        };
        for field in registry.fields() {
            let found = registry.read(&record).find(|(info, _)| *info == field);
            let value = match found {
                Some((_, Found::Value(value))) => Some(value),
                _ => None,
            };
            assert_eq!(field.value_in(&record), value, "{carrier:02x?}");
            let first = record.get(field.tag());
            let decoded = first.and_then(|bytes| Value::decode(field.kind, bytes));
            assert_eq!(decoded, value, "{carrier:02x?}");
        }
    }
}
