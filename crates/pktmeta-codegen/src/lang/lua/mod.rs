//! A Wireshark dissector in Lua: a table of the fields, and a program that reads it.

use crate::{
    error::Error,
    file::GeneratedFile,
    kinds::{filled, words},
    language::Language,
    text,
};
use pktmeta_core::{
    FieldInfo, FieldName, Record, Registry,
    schema::{Schema, SchemaField},
};

pub(crate) fn generate(
    schemas: &[Schema],
    registry: &Registry,
) -> Result<Vec<GeneratedFile>, Error> {
    check(schemas, registry)?;
    let mut fields: Vec<_> = registry.fields().iter().collect();
    fields.sort_by_key(|field| field.tlv);
    let entries: String = fields
        .into_iter()
        .map(|info| entry(info, described(schemas, info)))
        .collect();
    let owners: Vec<FieldName> = schemas.iter().map(Schema::owner).collect();
    let mut about = text::provenance(Language::Wireshark, &owners).to_vec();
    about.push("For the numbers that a host gave to its fields: `--numbers host`, there.".into());
    let text = format!(
        "{about}\n\
         -- The fields by their numbers in records.\n\
         local FIELDS = {{\n{entries}}}\n\n\
         -- Bytes of a record's header, and at most of all of it; its version.\n\
         local HEADER, CAPACITY, VERSION = {header}, {capacity}, {version}\n{program}",
        about = text::prefixed("--", &about),
        header = Record::HEADER,
        capacity = Record::CAPACITY,
        version = Record::MAGIC[2] >> 4,
        program = include_str!("dissector.lua"),
    );
    Ok(vec![GeneratedFile {
        name: "pktmeta.lua".into(),
        text,
    }])
}

/// Fields that the registry lacks would silently be missing.
fn check(schemas: &[Schema], registry: &Registry) -> Result<(), Error> {
    let mut wanted = schemas.iter().flat_map(Schema::fields);
    let missing = wanted.find(|field| {
        let here = registry.by_name(field.wanted.name.as_str());
        here.is_none_or(|info| !is(field, info))
    });
    match missing {
        Some(field) => Err(Error::NotRegistered(field.wanted)),
        None => Ok(()),
    }
}

/// A field of the host that no schema describes is shown by its type.
fn described<'a>(schemas: &'a [Schema], info: &FieldInfo) -> Option<&'a SchemaField> {
    let mut fields = schemas.iter().flat_map(Schema::fields);
    fields.find(|field| is(field, info))
}

fn is(field: &SchemaField, info: &FieldInfo) -> bool {
    let wanted = &field.wanted;
    (wanted.name, wanted.owner, wanted.kind) == (info.name, info.owner, info.kind)
}

fn entry(info: &FieldInfo, field: Option<&SchemaField>) -> String {
    let FieldInfo {
        name,
        owner,
        tlv,
        kind,
        ..
    } = info;
    let family = filled(words(*kind).wireshark, *kind, &[]);
    let (tag, size) = (info.tag().byte(), kind.size());
    let doc = field.map_or_else(Vec::new, |field| text::lines(&field.doc));
    let title = match doc.is_empty() {
        true => format!("{kind} of {owner}"),
        false => format!("{} ({kind} of {owner})", doc.join(" ")),
    };
    let names = field.map_or_else(String::new, names);
    format!(
        "  [{tlv}] = {{ name = \"{name}\", kind = \"{family}\", size = {size}, tag = {tag},\n    \
         title = {}{names} }},\n",
        quoted(&title)
    )
}

fn names(field: &SchemaField) -> String {
    if field.names.is_empty() {
        return String::new();
    }
    let names: String = field
        .names
        .iter()
        .map(|(name, number)| format!(" {{ {number}, \"{name}\" }},"))
        .collect();
    format!(",\n    names = {{{names} }}")
}

/// A string of Lua.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
