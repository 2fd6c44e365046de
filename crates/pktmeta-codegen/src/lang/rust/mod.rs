//! Rust modules, for applications.
//!
//! They have no inner attributes, so that they work as a file of the crate and from `include!`.

use super::identifiers::{Identifiers, camel_case};
use crate::{
    error::Error,
    file::GeneratedFile,
    kinds::{filled, words},
    language::Language,
    text,
};
use pktmeta_core::{
    Kind,
    schema::{Keywords, Schema, SchemaField},
};

pub(crate) fn generate(schemas: &[Schema], krate: &str) -> Result<Vec<GeneratedFile>, Error> {
    schemas.iter().map(|schema| module(schema, krate)).collect()
}

/// The name of a field's constant in the module.
pub(crate) fn constant(field: &SchemaField) -> String {
    field.wanted.name.as_str().to_uppercase()
}

/// The Rust type of a field's values; `krate` has those that the standard library lacks.
pub(crate) fn value_type(field: &SchemaField, krate: &str) -> String {
    let kind = field.wanted.kind;
    let own = type_name(field);
    filled(
        words(kind).rust,
        kind,
        &[("{krate}", krate), ("{own}", &own)],
    )
}

/// The same without paths, for people.
pub(crate) fn short_type(field: &SchemaField) -> String {
    let path = value_type(field, "pktmeta");
    path.trim_start_matches("pktmeta::")
        .trim_start_matches("core::net::")
        .into()
}

/// The name of the module's file.
pub(crate) fn file_name(schema: &Schema) -> String {
    format!("{}.rs", schema.owner())
}

/// It stands on each item: few programs use all, and a module may be private.
const ALLOW: &str = "#[allow(dead_code, unreachable_pub)]";

fn module(schema: &Schema, krate: &str) -> Result<GeneratedFile, Error> {
    take_names(schema)?;
    let each = |part: fn(&SchemaField, &str) -> String| -> String {
        let fields = schema.fields().iter();
        fields.map(|field| part(field, krate)).collect()
    };
    let owner = schema.owner();
    let mut about = text::provenance(Language::Rust, &[owner]).to_vec();
    about.push(String::new());
    let example = schema.fields().first().map(constant);
    let example = example.map_or_else(String::new, |constant| {
        format!(" `meta.get({owner}::{constant})` reads one of a packet.")
    });
    about.push(format!("The fields of {owner}.{example}"));
    if !schema.doc().is_empty() {
        about.push(String::new());
        about.extend(text::lines(schema.doc()));
    }
    let builder = match schema.fields() {
        [] => String::new(),
        fields => builder(fields, krate),
    };
    Ok(GeneratedFile {
        name: file_name(schema),
        text: format!(
            "{about}\n{constants}{types}{builder}",
            about = text::prefixed("//", &about),
            constants = each(field_constant),
            types = each(named_values),
        ),
    })
}

fn field_constant(field: &SchemaField, krate: &str) -> String {
    let (constant, value_type) = (constant(field), value_type(field, krate));
    let (name, kind) = (field.wanted.name, field.wanted.kind);
    let mut doc = text::markdown_lines(&field.doc);
    if doc.is_empty() {
        doc = vec![format!("`{name}`, {}", text::markdown(&kind.to_string()))];
    }
    let left = format!("pub const {constant}: {krate}::Field<{value_type}> =");
    let right = format!("{krate}::Field::new(\"{name}\");");
    // As rustfmt does.
    let between = match left.len() + 1 + right.len() > 100 {
        true => "\n    ",
        false => " ",
    };
    let doc = text::prefixed("///", &doc);
    format!("{doc}{ALLOW}\n{left}{between}{right}\n\n")
}

/// The type of an enumeration's or a set's values.
fn named_values(field: &SchemaField, krate: &str) -> String {
    match field.wanted.kind {
        Kind::Enum { size } => enumeration(field, krate, size),
        Kind::Bits { size } => set(field, krate, size),
        _ => String::new(),
    }
}

fn enumeration(field: &SchemaField, krate: &str, size: u8) -> String {
    let (name, bits) = (type_name(field), 8 * u32::from(size));
    let mut constants = String::new();
    let mut names = String::new();
    for (value, number) in field.names.iter() {
        let (upper, number) = (value.to_uppercase(), grouped(number));
        constants +=
            &format!("    /// `{value}`.\n    pub const {upper}: Self = Self({number});\n\n");
        names += &format!("            {number} => Some(\"{value}\"),\n");
    }
    if field.names.iter().count() as u64 != 1 << bits {
        names += "            _ => None,\n";
    }
    format!(
        "\
/// A value of [`{constant}`]: one of those that have names here, or one that a later schema names.
{ALLOW}
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct {name}(pub u{bits});

{ALLOW}
impl {name} {{
{constants}    /// What the schema calls it.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {{
        match self.0 {{
{names}        }}
    }}
}}

impl core::fmt::Display for {name} {{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {{
        match self.name() {{
            Some(name) => f.pad(name),
            None => core::fmt::Display::fmt(&self.0, f),
        }}
    }}
}}

impl core::fmt::Debug for {name} {{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {{
        core::fmt::Display::fmt(self, f)
    }}
}}

{field_type}",
        constant = constant(field),
        field_type = field_type(&name, krate, "Enum", size),
    )
}

fn set(field: &SchemaField, krate: &str, size: u8) -> String {
    let (name, bits) = (type_name(field), 8 * u32::from(size));
    let mut constants = String::new();
    let mut names = String::new();
    for (value, bit) in field.names.iter() {
        let upper = value.to_uppercase();
        constants +=
            &format!("    /// `{value}`.\n    pub const {upper}: Self = Self(1 << {bit});\n\n");
        names += &format!("            {bit} => Some(\"{value}\"),\n");
    }
    format!(
        "\
/// A value of [`{constant}`]: a set of bits, joined with `|`.
{ALLOW}
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct {name}(pub u{bits});

{ALLOW}
impl {name} {{
{constants}    /// True if all bits of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {{
        self.0 & other.0 == other.0
    }}

    /// True if no bit is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {{
        self.0 == 0
    }}

    /// What the schema calls the bit with this number.
    #[must_use]
    pub const fn name(bit: u32) -> Option<&'static str> {{
        match bit {{
{names}            _ => None,
        }}
    }}
}}

impl core::ops::BitOr for {name} {{
    type Output = Self;

    fn bitor(self, other: Self) -> Self {{
        Self(self.0 | other.0)
    }}
}}

impl core::ops::BitOrAssign for {name} {{
    fn bitor_assign(&mut self, other: Self) {{
        self.0 |= other.0;
    }}
}}

impl core::fmt::Display for {name} {{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {{
        if self.is_empty() {{
            return f.write_str(\"none\");
        }}
        let mut rest = self.0;
        let mut separator = \"\";
        for bit in (0..u{bits}::BITS).filter(|bit| self.0 >> bit & 1 == 1) {{
            if let Some(name) = Self::name(bit) {{
                write!(f, \"{{separator}}{{name}}\")?;
                rest &= !(1 << bit);
                separator = \"|\";
            }}
        }}
        match rest {{
            0 => Ok(()),
            _ => write!(f, \"{{separator}}{{rest:#x}}\"),
        }}
    }}
}}

impl core::fmt::Debug for {name} {{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {{
        core::fmt::Display::fmt(self, f)
    }}
}}

{field_type}",
        constant = constant(field),
        field_type = field_type(&name, krate, "Bits", size),
    )
}

fn field_type(name: &str, krate: &str, kind: &str, size: u8) -> String {
    let bits = 8 * u32::from(size);
    format!(
        "\
impl {krate}::FieldType for {name} {{
    const KIND: {krate}::Kind = {krate}::Kind::{kind} {{ size: {size} }};

    fn decode(bytes: &[u8]) -> Option<Self> {{
        <u{bits} as {krate}::FieldType>::decode(bytes).map(Self)
    }}

    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R {{
        {krate}::FieldType::encode(&self.0, store)
    }}
}}

"
    )
}

/// `Record`, which holds values until the host's numbers are known.
fn builder(fields: &[SchemaField], krate: &str) -> String {
    let mut members = String::new();
    let mut methods = String::new();
    let mut puts = String::new();
    for field in fields {
        let (member, constant) = (method(field), constant(field));
        let value_type = value_type(field, krate);
        members += &format!("    {member}: Option<{value_type}>,\n");
        let (parameter, value) = match field.wanted.kind {
            Kind::Flag => (String::new(), "()"),
            _ => (format!(", value: {value_type}"), "value"),
        };
        methods += &format!(
            "
    /// Sets [`{constant}`].
    pub fn {member}(mut self{parameter}) -> Self {{
        self.{member} = Some({value});
        self
    }}
"
        );
        puts += &format!(
            "        if let Some(value) = &self.{member} {{
            registry.put(record, {constant}, value)?;
        }}
"
        );
    }
    format!(
        "\
/// Values to be sent: `Record::new()`, and a call for each field.
{ALLOW}
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Record {{
{members}}}

{ALLOW}
// What methods are called is for the schema to say.
#[allow(clippy::should_implement_trait, clippy::wrong_self_convention)]
impl Record {{
    /// No values.
    pub fn new() -> Self {{
        Self::default()
    }}
{methods}}}

impl {krate}::ToRecord for Record {{
    fn put_into(
        &self,
        record: &mut {krate}::Record,
        registry: &{krate}::Registry,
    ) -> Result<(), {krate}::RecordError> {{
{puts}        Ok(())
    }}
}}
"
    )
}

/// A number with `_` between its thousands.
fn grouped(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{}_{:03}", grouped(number / 1000), number % 1000),
    }
}

/// The name of a field in the builder, in the struct and as a method.
fn method(field: &SchemaField) -> String {
    let name = field.wanted.name.as_str();
    match name {
        "self" | "super" | "crate" | "new" | "put_into" | "to_record" => format!("{name}_"),
        _ if Keywords::RUST.have(name) => format!("r#{name}"),
        _ => name.into(),
    }
}

/// The name of the type of an enumeration's or a set's values.
fn type_name(field: &SchemaField) -> String {
    let name = camel_case(field.wanted.name.as_str());
    // A name without lower-case letters might be a constant's too.
    match USED.contains(&name.as_str()) || name == name.to_uppercase() {
        true => format!("{name}Value"),
        false => name,
    }
}

/// Types and values that generated code names without a path.
const USED: [&str; 11] = [
    "Default", "Err", "Fn", "FnOnce", "None", "Ok", "Option", "Record", "Result", "Self", "Some",
];

/// Constants differ as fields do, whose names are in lower case; types and methods may not.
fn take_names(schema: &Schema) -> Result<(), Error> {
    let mut types = Identifiers::new(Language::Rust);
    let mut methods = Identifiers::new(Language::Rust);
    for field in schema.fields() {
        let what = format!("field {} of {}", field.wanted.name, schema.owner());
        methods.take(&method(field), &format!("the setter of {what}"))?;
        if !field.names.is_empty() {
            types.take(&type_name(field), &format!("the type of {what}"))?;
        }
    }
    Ok(())
}
