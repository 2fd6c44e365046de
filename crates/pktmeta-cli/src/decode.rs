//! `pktmeta decode`

use crate::{
    datapath::read_schema,
    output::{self, table},
};
use anyhow::{Context, anyhow};
use pktmeta_bpf::HostRegistry;
use pktmeta_core::{
    Record,
    field::{Kind, Value},
    schema::{Dictionary, Entry, Schema, parse_record},
};
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Show the fields of a record that is written in hex
///
/// With --json, integers are numbers, but those of 128 bits are strings; addresses are strings, and
/// bytes hex. `text` is what the table shows and `encode` reads.
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

impl Decode {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let hex = match &self.hex[..] {
            [dash] if dash == "-" => {
                io::read_to_string(io::stdin()).context("read the standard input")?
            }
            parts => parts.join(" "),
        };
        let record = parse_record(&hex)?;
        let dictionary = self.fields.dictionary(bpffs)?;
        let entries = dictionary.decode(&record)?;
        if self.json {
            println!("{:#}", to_json(&record, &entries));
            return Ok(ExitCode::SUCCESS);
        }
        print(&entries);
        if dictionary.is_empty() && !entries.is_empty() {
            eprintln!("no field has a name on this host; --schema FILE names them");
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
        let registry = match self.host || schemas.is_empty() {
            true => HostRegistry::new(bpffs).read()?,
            false => Schema::registry(&schemas).map_err(|error| {
                anyhow!("{error}\n  = `pktmeta check` with these files shows both sides")
            })?,
        };
        Ok(Dictionary::new(registry, &schemas))
    }
}

/// The record in hex, its length, and its fields.
pub(crate) fn to_json(record: &Record, entries: &[Entry]) -> serde_json::Value {
    json!({
        "hex": hex(record),
        "bytes": record.as_bytes().len(),
        "fields": entries.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn hex(record: &Record) -> String {
    let bytes = record.as_bytes().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn print(entries: &[Entry]) {
    let mut fields = table(["field", "owner", "type", "value"]);
    for entry in entries {
        let mut value = entry.text();
        if entry.again {
            value += " (again: readers see the first)";
        }
        let [name, owner, kind] = match &entry.known {
            Some(known) => [
                known.info.name.to_string(),
                known.info.owner.to_string(),
                known.info.kind.to_string(),
            ],
            None => [
                format!("type {}", entry.number),
                String::new(),
                String::new(),
            ],
        };
        fields.add_row([name, owner, kind, value]);
    }
    output::print(&fields);
}

/// The fields of a record in one line, `name=value` with blanks between.
pub(crate) fn line(dictionary: &Dictionary, record: &Record) -> String {
    let Ok(entries) = dictionary.decode(record) else {
        return format!("not of this host's types: {}", hex(record));
    };
    let fields = entries.iter().map(|entry| match &entry.known {
        Some(known) => format!("{}={}", known.info.name, known.text),
        None => format!("type_{}={}", entry.number, entry.text()),
    });
    match &fields.collect::<Vec<_>>()[..] {
        [] => "no fields".into(),
        fields => fields.join(" "),
    }
}

/// The fields of a record by name; null if there is none. Those that are not known are left out.
pub(crate) fn object(dictionary: &Dictionary, record: Option<&Record>) -> serde_json::Value {
    let Some(record) = record else {
        return serde_json::Value::Null;
    };
    let entries = dictionary.decode(record).unwrap_or_default();
    let known = entries.into_iter().filter_map(|entry| entry.known);
    known
        .map(|known| {
            let value = value_json(known.info.kind, &known.value);
            (known.info.name.to_string(), value)
        })
        .collect()
}

/// Nothing but its number and bytes is known of a field that is not registered.
fn entry_json(entry: &Entry) -> serde_json::Value {
    let known = entry.known.as_ref();
    json!({
        "name": known.map(|known| known.info.name.to_string()),
        "owner": known.map(|known| known.info.owner.to_string()),
        "type": known.map(|known| known.info.kind.to_string()),
        "number": entry.number.get(),
        "value": known.map(|known| value_json(known.info.kind, &known.value)),
        "text": entry.text(),
        "again": entry.again,
    })
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
