//! `pktmeta decode`

use crate::{
    arguments::Fields,
    files,
    output::{self, Cell, Table, Unwritten, record_json, remark},
};
use anyhow::anyhow;
use pktmeta_core::schema::{Entry, parse_record};
use std::{io, path::Path, process::ExitCode};

/// Show the fields of a record that is written in hex
///
/// A field whose bytes are no value of its type is shown as ?(bytes): readers do not see it, and
/// see the rest. With --json, integers are numbers, but those of 128 bits are strings; addresses
/// are strings, and bytes hex; what is no value is { "odd": bytes }. `text` is what the table shows
/// and `encode` reads.
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
            output::print_json(&record_json(&record, &entries))?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&entries)?;
        if dictionary.is_empty() && !entries.is_empty() {
            remark!("no field has a name on this host; --schema FILE names them");
        }
        Ok(ExitCode::SUCCESS)
    }
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
