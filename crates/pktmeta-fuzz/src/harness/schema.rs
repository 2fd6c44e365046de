//! Any text as a schema, and as what people write for records.

use super::{seeds::GOLDEN, target::Harness};
use crate::input::Input;
use pktmeta_core::{
    Record, Registry, builtin,
    schema::{Dictionary, Meaning, Schema, parse_record},
};

pub(super) const HARNESS: Harness = Harness {
    name: "schema",
    about: "no text makes the readers of schemas and records panic, and a schema agrees with \
            itself",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let edge = r#"
owner = "edge"
doc = "x"
retired = ["old"]
[[field]]
name = "verdict"
type = "enum8"
names = { pass = 0, log = 7 }
hot = true
wire = true
trusted = true
writers = ["xdp", "tc", "app"]
gro = "first"
default = "log"
[[field]]
name = "cookie"
type = "bytes[..8]"
drop_on_clone = true
[[field]]
name = "marks"
type = "bits16"
names = { a = 0, b = 3 }
"#;
    let lines = ["verdict=log cookie=aabb marks=a|b", "504d1007010107"];
    let golden = GOLDEN.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x} ")).collect());
    let texts = [builtin::SCHEMA.into(), edge.into()].into_iter();
    let texts: Vec<String> = texts.chain(lines.map(String::from)).chain(golden).collect();
    texts
        .iter()
        .map(|text| [b"\0\0", text.as_bytes()].concat())
        .collect()
}

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    // A record for the schema, if it is one.
    let bytes = input.carrier(64);
    let text = String::from_utf8_lossy(input.rest());
    if let Ok((record, _)) = parse_record(&text) {
        let hex: String = record
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(parse_record(&hex), Ok((record, 0)));
    }
    match Schema::parse("fuzz.toml", &text) {
        Err(error) => {
            let _ = error.to_string();
            assert!(error.line() <= text.split('\n').count(), "{error}");
        }
        Ok(schema) => valid(&schema, &text, &bytes),
    }
}

fn valid(schema: &Schema, text: &str, bytes: &[u8]) {
    assert!(schema.changes_since(schema).is_empty());
    let _ = (schema.savings(), schema.area());
    let words = || text.split([' ', '\n', '"']).take(32);
    for field in schema.fields() {
        for word in words() {
            if let Ok(value) = field.parse_value(word) {
                assert!(value.encode(field.wanted.kind).is_some(), "{word}");
                let text = field.display_value(&value);
                assert_eq!(field.parse_value(&text), Ok(value), "{word}");
            }
        }
    }
    let Ok(registry) = Schema::registry([schema]) else {
        return;
    };
    let _ = registry.layout();
    let dictionary = Dictionary::new(registry.clone(), [schema]);
    let _ = dictionary.encode(words());
    if let Ok(record) = Record::parse(bytes) {
        decoded(&dictionary, &registry, &record);
    }
}

/// What a record says to readers, said again, gives the values that it has.
fn decoded(dictionary: &Dictionary, registry: &Registry, record: &Record) {
    let entries = dictionary.decode(record);
    let seen = entries.iter().filter(|entry| !entry.again);
    let values = seen.filter(|entry| matches!(entry.meaning, Meaning::Value(_)));
    let assignments: Vec<_> = values.map(ToString::to_string).collect();
    let again = dictionary
        .encode(assignments.iter().map(String::as_str))
        .unwrap_or_else(|error| panic!("{record:?}: {error}"));
    let values = |record| registry.values(record).map(|(_, value)| value);
    let (first, second): (Vec<_>, Vec<_>) = (values(record).collect(), values(&again).collect());
    assert_eq!(first, second);
}
