//! C headers, for BPF programs and for applications.

use super::identifiers::Identifiers;
use crate::{
    error::Error,
    file::GeneratedFile,
    kinds::{C, filled, words},
    language::Language,
    text,
};
use pktmeta_core::{
    FieldName, Kind, Record, TlvType, abi,
    schema::{Schema, SchemaField},
};

pub(crate) fn generate(schemas: &[Schema]) -> Result<Vec<GeneratedFile>, Error> {
    // The names of all headers are unique: a program may include any two of them.
    let mut identifiers = Identifiers::new(Language::C);
    schemas
        .iter()
        .map(|schema| header(schema, &mut identifiers))
        .collect()
}

/// The C type of a field's values.
pub(crate) fn type_name(field: &SchemaField) -> String {
    format!("{}_t", lower(field))
}

/// The macro that declares a field in a BPF program.
pub(crate) fn declaration(field: &SchemaField) -> String {
    let name = field.wanted.name.as_str().to_uppercase();
    format!("{}_FIELD_{name}", owner(field))
}

/// The name of the header of a schema.
pub(crate) fn file_name(schema: &Schema) -> String {
    format!("{}.pktmeta.h", schema.owner())
}

fn header(schema: &Schema, identifiers: &mut Identifiers) -> Result<GeneratedFile, Error> {
    let guard = format!("{}_PKTMETA_H", schema.owner().as_str().to_uppercase());
    let what = format!("the include guard of {}", schema.owner());
    identifiers.take(&guard, &what)?;
    for field in schema.fields() {
        take_names(field, identifiers)?;
    }
    let each =
        |part: fn(&SchemaField) -> String| -> String { schema.fields().iter().map(part).collect() };
    let [generated, again] = text::provenance(Language::C, &[schema.owner()]);
    let text = format!(
        "\
/* {generated}
 * {again} */
/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
{about}#ifndef {guard}
#define {guard}

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

{helpers}
{definitions}#ifdef PKTMETA_BPF_H
{declarations}#elif !defined(__bpf__)
{functions}#endif

#endif
",
        about = about(schema),
        helpers = include_str!("helpers.h").replace("/* CONSTANTS */\n", &constants()),
        definitions = each(definition),
        declarations = each(declaration_macro),
        functions = each(functions),
    );
    Ok(GeneratedFile {
        name: file_name(schema),
        text,
    })
}

/// The numbers that the helpers need.
fn constants() -> String {
    let [magic_0, magic_1, version] = Record::MAGIC;
    let constants: [(&str, i64); 10] = [
        ("SOL", abi::SOL_PKTMETA.into()),
        ("INFO", abi::PKTMETA_INFO.into()),
        ("FIELD_INFO", abi::PKTMETA_FIELD_INFO.into()),
        ("NAME_SIZE", FieldName::CAPACITY as i64),
        ("MAGIC_0", magic_0.into()),
        ("MAGIC_1", magic_1.into()),
        ("RECORD_VERSION", i64::from(version >> 4)),
        ("HEADER", Record::HEADER as i64),
        ("RECORD_MAX", Record::CAPACITY as i64),
        ("TAG_TYPE", TlvType::MAX.into()),
    ];
    let line = |(name, value): (&str, i64)| {
        let value = text::number(value);
        format!("#define PKTMETA_SCHEMA_{name} {value}\n")
    };
    constants.map(line).concat()
}

/// The purpose of the header, and how to use it.
fn about(schema: &Schema) -> String {
    let mut lines = vec![format!("The fields of {}.", schema.owner())];
    lines.extend(comment_lines(schema.doc()));
    if let Some(field) = schema.fields().first() {
        let example = declaration(field);
        let (arguments, value) = match field.wanted.kind {
            Kind::Flag => ("record, length, type", ""),
            _ => ("record, length, type, &value", ", value"),
        };
        let lower = lower(field);
        lines.extend(
            format!(
                "
A BPF program includes this after <pktmeta/pktmeta.bpf.h> and declares the fields that it uses:

\t{example};

An application asks, on any socket, which number a field has on this host, and then reads it out
of records, or sets it in one that it began with pktmeta_schema_begin(record):

\ttype = {lower}_number(fd)
\t{lower}_get({arguments})
\t{lower}_put(record, type{value})

A number is that of the datapath that told it. After each use, ask whether it is still the
same, which is one getsockopt(); if it is another, ask for the numbers and do all of it again:

\tstruct pktmeta_schema_host host = {{ 0 }};
\t...
\tdo {{
\t\tlength = sizeof(record);
\t\terr = getsockopt(fd, SOL_PKTMETA, PKTMETA_RX, record, &length);
\t\tsame = pktmeta_schema_same(fd, &host);
\t\tif (!same)
\t\t\ttype = {lower}_number(fd);
\t}} while (!same);

Errors of getsockopt() itself: ENODATA, the packet had no record; ENOBUFS, it is not known whether
the connection's packet had one (no memory, or the SYN was not remembered).

These functions return a negative errno, or the value that they are asked for, else 0. Errors of
get: -ENODATA, the bytes are not a whole record, and none of them may be used; -ENOENT, the record
does not have the field with a value of its type. Errors of put: -ENOSPC, the record would be too
long; -EINVAL, it is no record, or the value is none of its type. decode and encode are for a value
alone, as PKTMETA_RX_FIELD and PKTMETA_TX_FIELD have it.
Values are in host order, addresses and ports in that of the network."
            )
            .lines()
            .map(str::to_owned),
        );
    }
    comment(&lines)
}

/// Name, kind, size and type of a field, and the names of its values.
fn definition(field: &SchemaField) -> String {
    let (lower, upper, kind) = (lower(field), upper(field), field.wanted.kind);
    let name = field.wanted.name;
    let doc = comment(&comment_lines(&field.doc));
    let (code, size) = (kind.code(), kind.size());
    let values = values(field);
    let bytes = match kind.is_variable() {
        true => format!("1 + {upper}_SIZE"),
        false => format!("{upper}_SIZE"),
    };
    let value_type = value_type(kind).map_or_else(String::new, |value_type| {
        format!(
            "typedef {value_type} {lower}_t;\n\
             PKTMETA_STATIC_ASSERT(sizeof({lower}_t) == {bytes}, \"{name} is {kind}\");\n"
        )
    });
    format!(
        "{doc}#define {upper}_NAME \"{name}\"\n\
         #define {upper}_KIND {code} /* {kind} */\n\
         #define {upper}_SIZE {size}\n\
         {values}{value_type}\n"
    )
}

/// An `enum` of an enumeration's values, masks of a set's bits.
fn values(field: &SchemaField) -> String {
    let (lower, upper) = (lower(field), upper(field));
    let names = field.names.iter();
    match field.wanted.kind {
        Kind::Enum { .. } => {
            // Enumerators are an int in C.
            let (small, large): (Vec<_>, Vec<_>) =
                names.partition(|(_, number)| i32::try_from(*number).is_ok());
            let enumerators: String = small
                .iter()
                .map(|(name, number)| format!("\t{upper}_{} = {number},\n", name.to_uppercase()))
                .collect();
            let others: String = large
                .iter()
                .map(|(name, number)| {
                    format!("#define {upper}_{} {number}U\n", name.to_uppercase())
                })
                .collect();
            match enumerators.is_empty() {
                true => others,
                false => format!("enum {lower} {{\n{enumerators}}};\n{others}"),
            }
        }
        Kind::Bits { size } => {
            let one = if size == 8 { "1ULL" } else { "1U" };
            names
                .map(|(name, bit)| {
                    format!("#define {upper}_{} ({one} << {bit})\n", name.to_uppercase())
                })
                .collect()
        }
        _ => String::new(),
    }
}

/// The C type of a kind's values; `None` if the kind has none.
fn value_type(kind: Kind) -> Option<String> {
    Some(match words(kind).c {
        C::Nothing => return None,
        C::Bool => "__u8".into(),
        C::Integer(integer) => filled(integer, kind, &[]),
        C::Halves(upper) => format!("struct {{\n\t__u64 lo;\n\t{upper} hi;\n}}"),
        C::Copied(bytes) => filled(bytes, kind, &[]),
        C::Counted => {
            let bytes = "\t__u8 size; /* of bytes, those that are set */\n\t__u8 bytes[{size}];\n";
            filled(&format!("struct {{\n{bytes}}}"), kind, &[])
        }
    })
}

/// The macro by which a BPF program declares that it uses a field.
fn declaration_macro(field: &SchemaField) -> String {
    let (name, lower) = (field.wanted.name, lower(field));
    let declaration = declaration(field);
    match field.wanted.kind {
        Kind::Flag => format!("#define {declaration} PKTMETA_FIELD_FLAG({name})\n"),
        Kind::Variable { max } => {
            format!("#define {declaration} PKTMETA_FIELD_BYTES({name}, {max})\n")
        }
        _ => format!("#define {declaration} PKTMETA_FIELD({name}, {lower}_t)\n"),
    }
}

/// The functions of an application for a field.
fn functions(field: &SchemaField) -> String {
    let (lower, upper) = (lower(field), upper(field));
    let number = format!(
        "\nstatic inline int {lower}_number(int fd)\n\
         {{\n\
         \treturn pktmeta_schema_number(fd, {upper}_NAME, {upper}_KIND, {upper}_SIZE);\n\
         }}\n"
    );
    let of_records = match field.wanted.kind {
        Kind::Flag => flag_functions(&lower),
        kind => value_functions(&lower, &upper, kind),
    };
    number + &of_records
}

fn flag_functions(lower: &str) -> String {
    format!(
        "\nstatic inline int {lower}_get(const void *record, size_t length, __u8 type)\n\
         {{\n\
         \tconst __u8 *bytes = 0;\n\
         \tint size = pktmeta_schema_find(record, length, type, 0, &bytes);\n\n\
         \treturn size > 0 ? -ENOENT : size;\n\
         }}\n\
         \nstatic inline int {lower}_put(void *record, __u8 type)\n\
         {{\n\
         \treturn pktmeta_schema_put(record, type, 0, 0, 0);\n\
         }}\n"
    )
}

fn value_functions(lower: &str, upper: &str, kind: Kind) -> String {
    let words = words(kind);
    // The code of the size in the tag, which the kind has with any number.
    let code = kind.tag(TlvType::FIRST).size_code();
    let unlike = match words.c {
        C::Counted => format!("size < 0 || size > {upper}_SIZE"),
        C::Bool => format!("size != {upper}_SIZE || *bytes > 1"),
        _ => format!("size != {upper}_SIZE"),
    };
    let integer = |value: &str| {
        (
            format!("\t*value = ({lower}_t)pktmeta_schema_integer(bytes, size);\n"),
            format!("\treturn pktmeta_schema_store(bytes, {value}, {upper}_SIZE);\n"),
        )
    };
    let (load, store) = match words.c {
        C::Nothing => return String::new(),
        C::Bool => integer("!!value"),
        C::Integer(_) => integer("(__u64)value"),
        C::Halves(half) => (
            format!(
                "\tvalue->lo = pktmeta_schema_integer(bytes, 8);\n\
                 \tvalue->hi = ({half})pktmeta_schema_integer(bytes + 8, 8);\n"
            ),
            "\tpktmeta_schema_store(bytes, value.lo, 8);\n\
             \treturn 8 + pktmeta_schema_store(bytes + 8, (__u64)value.hi, 8);\n"
                .into(),
        ),
        C::Counted => (
            "\tvalue->size = (__u8)size;\n\
             \tmemcpy(value->bytes, bytes, (size_t)size);\n"
                .into(),
            format!(
                "\tif (value.size > {upper}_SIZE)\n\
                 \t\treturn -EINVAL;\n\
                 \tmemcpy(bytes, value.bytes, value.size);\n\
                 \treturn value.size;\n"
            ),
        ),
        C::Copied(_) => (
            "\tmemcpy(value, bytes, sizeof(*value));\n".into(),
            "\tmemcpy(bytes, &value, sizeof(value));\n\
             \treturn sizeof(value);\n"
                .into(),
        ),
    };
    format!(
        "\nstatic inline int {lower}_decode(const __u8 *bytes, int size, {lower}_t *value)\n\
         {{\n\
         \tif ({unlike})\n\
         \t\treturn -ENOENT;\n\
         {load}\
         \treturn 0;\n\
         }}\n\
         \nstatic inline int {lower}_encode(__u8 *bytes, {lower}_t value)\n\
         {{\n\
         {store}\
         }}\n\
         \nstatic inline int {lower}_get(const void *record, size_t length, __u8 type,\n\
         \t\t\t{lower}_t *value)\n\
         {{\n\
         \tconst __u8 *bytes = 0;\n\
         \tint size = pktmeta_schema_find(record, length, type, {code}, &bytes);\n\n\
         \treturn size < 0 ? size : {lower}_decode(bytes, size, value);\n\
         }}\n\
         \nstatic inline int {lower}_put(void *record, __u8 type, {lower}_t value)\n\
         {{\n\
         \t__u8 bytes[{upper}_SIZE];\n\
         \tint size = {lower}_encode(bytes, value);\n\n\
         \treturn size < 0 ? size : \
            pktmeta_schema_put(record, type, {code}, bytes, (size_t)size);\n\
         }}\n"
    )
}

/// Claims what [`definition`] and [`declaration_macro`] define. Names in lower case are unique if
/// these are.
fn take_names(field: &SchemaField, identifiers: &mut Identifiers) -> Result<(), Error> {
    let what = format!("field {} of {}", field.wanted.name, field.wanted.owner);
    let upper = upper(field);
    for part in ["NAME", "KIND", "SIZE"] {
        let part_of = format!("the {} of {what}", part.to_lowercase());
        identifiers.take(&format!("{upper}_{part}"), &part_of)?;
    }
    identifiers.take(&declaration(field), &format!("the declaration of {what}"))?;
    for (name, _) in field.names.iter() {
        let value = format!("{upper}_{}", name.to_uppercase());
        identifiers.take(&value, &format!("value {name} of {what}"))?;
    }
    Ok(())
}

fn owner(field: &SchemaField) -> String {
    field.wanted.owner.as_str().to_uppercase()
}

fn lower(field: &SchemaField) -> String {
    format!("{}_{}", field.wanted.owner, field.wanted.name)
}

fn upper(field: &SchemaField) -> String {
    lower(field).to_uppercase()
}

/// The lines of a `doc` without characters that begin or end a comment, or join lines.
fn comment_lines(doc: &str) -> Vec<String> {
    let mut lines = text::lines(doc);
    for line in &mut lines {
        *line = line
            .replace("*/", "* /")
            .replace("/*", "/ *")
            .replace("??/", "?? /");
        if line.ends_with('\\') {
            line.push('.');
        }
    }
    lines
}

fn comment(lines: &[String]) -> String {
    match lines {
        [] => String::new(),
        [line] => format!("/* {line} */\n"),
        _ => format!(
            "/*\n{} */\n",
            text::prefixed(" *", lines).replace(" * \t", " *\t")
        ),
    }
}
