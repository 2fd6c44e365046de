//! The JSON Schema of schema files, with which editors check and complete them.
//!
//! Only the types in it are generated: the rest says more than the parser's types do. Tests keep it
//! in step with the parser.

use crate::file::GeneratedFile;
use pktmeta_core::Kind;

pub(crate) fn file() -> GeneratedFile {
    let text = include_str!("pktmeta-schema.json")
        .replace("TYPES", &types())
        .replace("KINDS", &Kind::names());
    GeneratedFile {
        name: "pktmeta-schema.json".into(),
        text,
    }
}

/// The types that are words, a line for those that differ in size only.
fn types() -> String {
    let kinds: Vec<Kind> = Kind::all()
        .filter(|kind| !matches!(kind, Kind::Bytes { .. } | Kind::Variable { .. }))
        .collect();
    let has_one_size = |kind: &Kind| {
        let sizes = kinds.iter().filter(|other| other.code() == kind.code());
        sizes.count() == 1
    };
    let is_line = |a: &Kind, b: &Kind| a.code() == b.code() || has_one_size(a) && has_one_size(b);
    let lines = kinds.chunk_by(is_line).map(|line| {
        let names: Vec<_> = line.iter().map(|kind| format!("\"{kind}\"")).collect();
        names.join(", ")
    });
    lines.collect::<Vec<_>>().join(",\n            ")
}
