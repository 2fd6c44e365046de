//! `pktmeta decode`

use crate::{
    datapath::read_schema,
    files,
    output::{self, Cell, Table, Unwritten, remark},
};
use anyhow::anyhow;
use pktmeta_bpf::HostRegistry;
use pktmeta_core::{
    Record,
    field::{Kind, Value},
    schema::{Dictionary, Entry, Meaning, Schema, parse_record},
};
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Show the fields of a record that is written in hex
///
/// A field whose bytes are no value of its type is shown as ?(bytes): readers do not see it, and see the
/// rest. With --json, integers are numbers, but those of 128 bits are strings; addresses are strings, and
/// bytes hex; what is no value is { "odd": bytes }. `text` is what the table shows and `encode` reads.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta decode --schema edge.toml 504d 1009 8107 0000 00")]
pub(crate) struct Decode {
    #[command(flatten)]
    fields: Fields,
    /// The record, two hex digits a byte; blanks, colons and 0x may stand between bytes; - reads
    /// it from the standard input
    #[arg(required = true, value_name = "HEX")]
    hex: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// More than anybody writes around the digits of a record.
const HEX_MAX: u64 = 64 << 10;

impl Decode {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let hex = match &self.hex[..] {
            [dash] if dash == "-" => {
                let read = files::read_all(io::stdin(), HEX_MAX);
                let read = read.map_err(|error| {
                    anyhow!(
                        "read the standard input: {error}\n  = give the hex digits of one record"
                    )
                })?;
                String::from_utf8_lossy(&read).into_owned()
            }
            parts => parts.join(" "),
        };
        let (record, behind) = parse_record(&hex)?;
        let dictionary = self.fields.dictionary(bpffs)?;
        let entries = dictionary.decode(&record);
        if behind > 0 {
            remark!("behind the record {behind} bytes more, which are none of it");
        }
        if self.json {
            output::print_json(&to_json(&record, &entries))?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&entries)?;
        if dictionary.is_empty() && !entries.is_empty() {
            remark!("no field has a name on this host; --schema FILE names them");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Which fields there are, and their numbers.
#[derive(clap::Args)]
pub(crate) struct Fields {
    /// Schema file whose fields are numbered in its order, as on a host that has no others; more of
    /// them go on from there [default: the fields of this host]
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// Use the numbers of this host for the schemas' fields
    #[arg(long)]
    host: bool,
}

impl Fields {
    pub(crate) fn dictionary(&self, bpffs: &Path) -> anyhow::Result<Dictionary> {
        let schemas = self.schema.iter().map(|file| read_schema(file));
        let schemas: Vec<Schema> = schemas.collect::<Result<_, _>>()?;
        if self.host || schemas.is_empty() {
            return Ok(HostRegistry::new(bpffs).dictionary()?.with(&schemas));
        }
        let registry = Schema::registry(&schemas).map_err(|error| {
            anyhow!("{error}\n  = `pktmeta check` with these files shows both sides")
        })?;
        Ok(Dictionary::new(registry, &schemas))
    }
}

/// The record in hex, its length, and its fields.
pub(crate) fn to_json(record: &Record, entries: &[Entry]) -> serde_json::Value {
    json!({
        "hex": hex(record.as_bytes()),
        "bytes": record.as_bytes().len(),
        "fields": entries.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print(entries: &[Entry]) -> Result<(), Unwritten> {
    let mut fields = Table::new(["field", "owner", "type", "value"]);
    for entry in entries {
        let mut value = entry.text();
        if entry.again {
            value += " (again: readers see the other)";
        }
        let [name, owner, kind] = match entry.info() {
            Some(info) => [
                info.name.to_string(),
                info.owner.to_string(),
                info.kind.to_string(),
            ],
            None => [
                format!("type {}", entry.number),
                String::new(),
                String::new(),
            ],
        };
        fields.row([name, owner, kind, value].map(Cell::from));
    }
    fields.print()
}

/// The fields of a record in one line, as readers see them: `name=value` with blanks between.
pub(crate) fn line(dictionary: &Dictionary, record: &Record) -> String {
    let entries = dictionary.decode(record).into_iter();
    let seen = entries.filter(|entry| !entry.again);
    match &seen.map(|entry| entry.to_string()).collect::<Vec<_>>()[..] {
        [] => "no fields".into(),
        fields => fields.join(" "),
    }
}

/// The fields of a record by name, as readers see them; null if there is none. Those that are not known
/// are left out.
pub(crate) fn object(dictionary: &Dictionary, record: Option<&Record>) -> serde_json::Value {
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
            let line = record.map(|record| line(&dictionary, &record));
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
            assert_eq!(object(&dictionary, Some(&record)), found, "{bytes:02x?}");
            let listed = to_json(&record, &dictionary.decode(&record));
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
        assert_eq!(object(&dictionary, None), serde_json::Value::Null);
    }
}
