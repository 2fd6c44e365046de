//! A Python package: a module that is the same for all schemas, and one for each owner.

use super::identifiers::{Identifiers, camel_case};
use crate::{error::Error, file::GeneratedFile, kinds::words, language::Language, text};
use pktmeta_core::{
    Kind, abi,
    schema::{Keywords, Schema, SchemaField},
};
use std::collections::BTreeSet;

pub(crate) fn generate(schemas: &[Schema], builtin: &Schema) -> Result<Vec<GeneratedFile>, Error> {
    let mut modules = Identifiers::new(Language::Python);
    let mut files = vec![runtime(builtin)];
    for schema in schemas {
        let what = format!("the module of {}", schema.owner());
        modules.take(&module_name(schema), &what)?;
        files.push(module(schema)?);
    }
    Ok(files)
}

/// No name in it can be that of an owner, whose module would hide it or be hidden.
fn runtime(builtin: &Schema) -> GeneratedFile {
    let constants: String = abi::constants()
        .into_iter()
        .map(|(name, value)| format!("{name} = {}\n", text::number(value)))
        .collect();
    let about = text::prefixed("#", &text::provenance_of_all(Language::Python));
    GeneratedFile {
        name: "__init__.py".into(),
        text: format!(
            "\
{about}\"\"\"Records of packets and their fields, for plain sockets; docs/abi.md has the contract.

The modules of this package have the fields of an owner each. Python 3.8 or newer; no other package.
\"\"\"
from enum import IntEnum
from errno import ENODATA, ENOENT, ESTALE
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Callable, Dict, Generic, Optional, Protocol, Tuple, TypeVar, Union

{constants}

{runtime}

# What pktmeta's own programs say of packets.
{builtin}",
            runtime = include_str!("runtime.py"),
            builtin = builtin.fields().iter().map(constant).collect::<String>(),
        ),
    }
}

fn module(schema: &Schema) -> Result<GeneratedFile, Error> {
    let imports = imports(schema.fields());
    take_names(schema, &imports)?;
    let owner = schema.owner();
    let mut about = text::provenance(Language::Python, &[owner]).to_vec();
    about.push(String::new());
    let example = schema.fields().first().map(upper);
    let example = example.map_or_else(String::new, |field| {
        format!(
            " `record.get({}.{field})` reads one of a packet.",
            module_name(schema)
        )
    });
    about.push(format!("The fields of {owner}.{example}"));
    about.extend(text::lines(schema.doc()));
    let mut text = text::prefixed("#", &about);
    if schema.fields().iter().any(is_set) {
        text += "from enum import IntFlag\n\n";
    }
    if !imports.is_empty() {
        let names: String = imports
            .iter()
            .map(|name| format!("    {name},\n"))
            .collect();
        text += &format!("from . import (\n{names})\n");
    }
    for field in schema.fields() {
        text += &named_values(field);
        text += &constant(field);
    }
    Ok(GeneratedFile {
        name: format!("{}.py", module_name(schema)),
        text,
    })
}

fn module_name(schema: &Schema) -> String {
    let owner = schema.owner();
    match Keywords::PYTHON.have(owner.as_str()) {
        true => format!("{owner}_"),
        false => owner.as_str().into(),
    }
}

/// The names that a module imports from the package.
fn imports(fields: &[SchemaField]) -> BTreeSet<&'static str> {
    let mut imports = BTreeSet::new();
    for field in fields {
        let kind = field.wanted.kind;
        imports.extend([words(kind).python, kind.constant()]);
        if matches!(field.wanted.kind, Kind::Enum { .. }) {
            imports.insert("Names");
        }
    }
    imports
}

fn constant(field: &SchemaField) -> String {
    let (name, kind) = (field.wanted.name, field.wanted.kind);
    let (class, code) = (words(kind).python, kind.constant());
    let mut arguments = format!("\"{name}\", {code}, {}", kind.size());
    if !field.names.is_empty() {
        arguments += &format!(", {}", type_name(field));
    }
    let mut about = text::lines(&field.doc);
    about.push(kind.to_string());
    let about = text::prefixed("#", &about);
    format!("\n{about}{} = {class}({arguments})\n", upper(field))
}

/// The class of an enumeration's or a set's values.
fn named_values(field: &SchemaField) -> String {
    if field.names.is_empty() {
        return String::new();
    }
    let (base, shift) = match is_set(field) {
        true => ("IntFlag", "1 << "),
        false => ("Names", ""),
    };
    let values: String = field
        .names
        .iter()
        .map(|(name, number)| format!("    {} = {shift}{number}\n", name.to_uppercase()))
        .collect();
    let name = type_name(field);
    format!(
        "\n\nclass {name}({base}):\n    \"\"\"Values of {}.\"\"\"\n\n{values}\n",
        upper(field)
    )
}

fn is_set(field: &SchemaField) -> bool {
    matches!(field.wanted.kind, Kind::Bits { .. })
}

fn upper(field: &SchemaField) -> String {
    field.wanted.name.as_str().to_uppercase()
}

fn type_name(field: &SchemaField) -> String {
    let name = camel_case(field.wanted.name.as_str());
    // A name without lower-case letters might be a constant's too.
    match ["None", "True", "False"].contains(&name.as_str()) || name == name.to_uppercase() {
        true => format!("{name}Value"),
        false => name,
    }
}

fn take_names(schema: &Schema, imports: &BTreeSet<&str>) -> Result<(), Error> {
    let mut identifiers = Identifiers::new(Language::Python);
    for import in imports.iter().copied().chain(["IntFlag"]) {
        identifiers.take(import, &format!("the package's {import}"))?;
    }
    for field in schema.fields() {
        let what = format!("field {} of {}", field.wanted.name, schema.owner());
        identifiers.take(&upper(field), &what)?;
        if !field.names.is_empty() {
            identifiers.take(&type_name(field), &format!("the type of {what}"))?;
        }
    }
    Ok(())
}
