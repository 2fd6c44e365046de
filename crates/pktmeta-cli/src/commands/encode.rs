//! `pktmeta encode`

use crate::{
    arguments::Fields,
    output::{self, hex, record_json, say},
};
use std::{path::Path, process::ExitCode};

/// Write a record in hex, from the values of its fields
///
/// Values are written as `decode` shows them: numbers, addresses, hex digits for bytes, true or
/// false, names for what has names (of bits joined with |). A flag is set with =true.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta encode --schema edge.toml tenant=7 'seen=internal|wan'")]
pub(crate) struct Encode {
    #[command(flatten)]
    fields: Fields,
    /// Fields in the order in which they stand in the record
    #[arg(required = true, value_name = "NAME=VALUE")]
    assignments: Vec<String>,
    /// Print JSON: the hex, its bytes, and the fields as `decode` shows them
    #[arg(long)]
    json: bool,
}

impl Encode {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let dictionary = self.fields.dictionary(bpffs)?;
        let record = dictionary.encode(self.assignments.iter().map(String::as_str))?;
        match self.json {
            true => output::print_json(&record_json(&record, &dictionary.decode(&record)))?,
            false => say!("{}", hex(record.as_bytes()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
