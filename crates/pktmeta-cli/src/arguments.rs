//! Arguments that several commands take.

use crate::{files, output};
use anyhow::anyhow;
use pktmeta_bpf::{HostRegistry, labels::Label};
use pktmeta_core::schema::{Dictionary, Schema};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for another command.
#[derive(clap::Args)]
pub(crate) struct Wait {
    /// Seconds to wait for another command that changes something in the same bpffs
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

impl Wait {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// The fields, and their numbers.
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
            let remedy = error.remedy();
            anyhow!("{error}: {remedy}\n  = `pktmeta check` with these files shows both sides")
        })?;
        Ok(Dictionary::new(registry, &schemas))
    }
}

/// Reads a schema file.
pub(crate) fn read_schema(file: &Path) -> anyhow::Result<Schema> {
    let read = File::open(file).and_then(|file| files::text(file, Schema::FILE_MAX as u64));
    let text = read.map_err(|error| {
        let file = output::name(file);
        anyhow!("read the schema {file}: {error}\n  = docs/schema.md says what such a file holds")
    })?;
    Ok(Schema::parse(&output::name(file), &text)?)
}

/// Reads a file of labels.
pub(crate) fn read_labels(file: &Path) -> anyhow::Result<Vec<Label>> {
    /// Some two million labels; a device would not end.
    const MAX: u64 = 64 << 20;
    let (name, read) = match file.to_str() {
        Some("-") => (
            "standard input".into(),
            files::text(io::stdin().lock(), MAX),
        ),
        _ => (
            output::name(file),
            File::open(file).and_then(|file| files::text(file, MAX)),
        ),
    };
    let text = read.map_err(|error| {
        anyhow!("read the labels of {name}: {error}\n  = write PREFIX=FIELD:VALUE, one a line")
    })?;
    Ok(Label::parse_file(&name, &text)?)
}
