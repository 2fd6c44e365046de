//! Reference pages in Markdown, for people.

use crate::{
    file::GeneratedFile,
    lang::{c, rust},
    language::Language,
    text,
};
use pktmeta_core::{
    FieldName, Kind,
    registry::{GroMerge, Policy, Writers},
    schema::{Schema, SchemaField},
};

pub(crate) fn generate(schemas: &[Schema]) -> Vec<GeneratedFile> {
    schemas.iter().map(page).collect()
}

fn page(schema: &Schema) -> GeneratedFile {
    let owner = schema.owner();
    let [generated, again] = text::provenance(Language::Reference, &[owner]);
    let rows: String = schema.fields().iter().map(row).collect();
    let sections: String = schema.fields().iter().map(section).collect();
    let uses = match schema.fields() {
        [] => String::new(),
        _ => format!(
            "The area of a record with all of them has {} bytes. C: `{}`. Rust: `{}`.\n\n\
             | field | type | bytes in a record | written by | policy | on packets |\n\
             |---|---|---|---|---|---|\n{rows}\n",
            schema.area(),
            c::file_name(schema),
            rust::file_name(schema),
        ),
    };
    let text = format!(
        "<!-- {generated}\n{again} -->\n\n# Fields of {owner}\n\n{doc}{uses}{sections}{retired}",
        doc = paragraph(schema.doc()),
        retired = retired(schema.retired()),
    );
    GeneratedFile {
        name: format!("{owner}.md"),
        text: format!("{}\n", text.trim_end()),
    }
}

fn row(field: &SchemaField) -> String {
    let (name, kind, policy) = (field.wanted.name, field.wanted.kind, field.wanted.policy);
    let bytes = match kind {
        Kind::Variable { .. } => format!("2 to {}", kind.tlv_size()),
        _ => kind.tlv_size().to_string(),
    };
    format!(
        "| [{name}](#{name}) | `{kind}` | {bytes} | {} | {} | {} |\n",
        writers(policy.writers),
        policy_words(policy, field.varies_per_packet),
        presence(field.present),
    )
}

fn section(field: &SchemaField) -> String {
    let name = field.wanted.name;
    let owner = field.wanted.owner;
    let c_type = match field.wanted.kind {
        Kind::Flag => String::new(),
        _ => format!("`{}`; ", c::type_name(field)),
    };
    format!(
        "## {heading}\n\n{doc}{values}\
         - C: {c_type}in a BPF program `{declaration};`\n\
         - Rust: `{owner}::{constant}`, a `Field<{rust_type}>`\n\n",
        heading = text::markdown(name.as_str()),
        doc = paragraph(&field.doc),
        values = values(field),
        declaration = c::declaration(field),
        constant = rust::constant(field),
        rust_type = rust::short_type(field),
    )
}

fn values(field: &SchemaField) -> String {
    let (heading, is_bits) = match field.wanted.kind {
        Kind::Enum { .. } => ("| name | number |\n|---|---|\n", false),
        Kind::Bits { .. } => ("| name | bit | mask |\n|---|---|---|\n", true),
        _ => return String::new(),
    };
    let rows: String = field
        .names
        .iter()
        .map(|(name, number)| match is_bits {
            true => format!("| `{name}` | {number} | `{:#x}` |\n", 1u64 << number),
            false => format!("| `{name}` | {number} |\n"),
        })
        .collect();
    format!("{heading}{rows}\n")
}

fn retired(names: &[FieldName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "## Retired names\n\n{}. An earlier version had fields of these names: they must not come \
         back with another meaning.\n",
        names.join(", ")
    )
}

fn writers(writers: Writers) -> String {
    let all = [
        (writers.xdp, "xdp"),
        (writers.tc, "tc"),
        (writers.app, "app"),
    ];
    words(&all, "nobody")
}

/// The parts of a policy that differ from the default.
fn policy_words(policy: Policy, varies_per_packet: bool) -> String {
    let gro = |merge| policy.gro == merge;
    words(
        &[
            (policy.hot, "hot"),
            (policy.wire, "wire"),
            (policy.trusted, "trusted"),
            (varies_per_packet, "varies by packet"),
            (gro(GroMerge::First), "GRO: first"),
            (gro(GroMerge::Last), "GRO: last"),
            (gro(GroMerge::Sum), "GRO: sum"),
            (policy.drop_on_clone, "not on clones"),
            (policy.drop_on_netns, "not into other namespaces"),
        ],
        "",
    )
}

fn words(all: &[(bool, &str)], none: &str) -> String {
    let said: Vec<_> = all
        .iter()
        .filter_map(|(is, word)| is.then_some(*word))
        .collect();
    match said.is_empty() {
        true => none.into(),
        false => said.join(", "),
    }
}

/// `present`, to a hundredth of a percent.
fn presence(share: f64) -> String {
    match share {
        1.0 => "all".into(),
        _ => {
            let percent = format!("{:.2}", share * 100.0);
            format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

fn paragraph(doc: &str) -> String {
    let lines = text::markdown_lines(doc);
    match lines.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", lines.join("\n")),
    }
}
