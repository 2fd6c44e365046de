//! Legal schemas that are likely to hurt, and fields that two schemas cannot both have.

use super::{field::SchemaField, file::Schema, keywords::Keywords};
use crate::field::{FieldName, Kind};

/// A legal part of a schema that is likely to hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    /// The owner of the schema.
    pub owner: FieldName,
    /// The field it is about; `None` if it is about the schema.
    pub field: Option<FieldName>,
    /// The fault.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// The parts of schemas that are likely to hurt when the schemas are used together.
#[must_use]
pub fn lints<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut earlier: Vec<&SchemaField> = Vec::new();
    for schema in schemas {
        lints.extend(owner_lint(schema));
        for field in schema.fields() {
            lints.extend(field_lints(field));
            lints.extend(earlier.iter().filter_map(|other| twin_lint(field, other)));
            earlier.push(field);
        }
    }
    lints
}

/// Pairs of fields that have one name, but not one owner and type: one host cannot have both.
#[must_use]
pub fn conflicts<'a>(
    schemas: impl IntoIterator<Item = &'a Schema>,
) -> Vec<(&'a SchemaField, &'a SchemaField)> {
    let mut conflicts = Vec::new();
    let mut earlier: Vec<&SchemaField> = Vec::new();
    for field in schemas.into_iter().flat_map(Schema::fields) {
        let meaning = |field: &SchemaField| (field.wanted.owner, field.wanted.kind);
        let taken = earlier
            .iter()
            .find(|other| other.wanted.name == field.wanted.name);
        match taken {
            Some(taken) if meaning(taken) != meaning(field) => conflicts.push((*taken, field)),
            Some(_) => {}
            None => earlier.push(field),
        }
    }
    conflicts
}

fn owner_lint(schema: &Schema) -> Option<Lint> {
    let owner = schema.owner();
    Some(Lint {
        owner,
        field: None,
        what: keyword(owner)?,
        remedy: "give the owner another name".into(),
    })
}

fn field_lints(field: &SchemaField) -> Vec<Lint> {
    let (name, owner) = (field.wanted.name, field.wanted.owner);
    let lint = |what: String, remedy: String| Lint {
        owner,
        field: Some(name),
        what,
        remedy,
    };
    let mut lints = Vec::new();
    let prefix = format!("{owner}_");
    if let Some(rest) = name.as_str().strip_prefix(&prefix) {
        let what = "its name repeats its owner's, which tables and generated code show anyway";
        lints.push(lint(what.into(), format!("call it {rest}")));
    }
    if let Some(what) = keyword(name) {
        lints.push(lint(what, "give the field another name".into()));
    }
    if field.doc.trim().is_empty() {
        let what = "nothing says what it means";
        lints.push(lint(what.into(), "add doc = \"...\"".into()));
    }
    if matches!(field.wanted.kind, Kind::Enum { .. }) && field.names.name(0).is_none() {
        let what = "0 has no name, though it is what memory that nobody wrote holds";
        lints.push(lint(
            what.into(),
            "add a name for it, such as unknown = 0".into(),
        ));
    }
    lints
}

/// Two names that people will take for one.
fn twin_lint(field: &SchemaField, other: &SchemaField) -> Option<Lint> {
    let (name, twin) = (field.wanted.name, other.wanted.name);
    let bare = |name: FieldName| name.as_str().replace('_', "");
    (name != twin && bare(name) == bare(twin)).then(|| Lint {
        owner: field.wanted.owner,
        field: Some(name),
        what: format!(
            "only underscores tell its name from {twin} of {}",
            other.wanted.owner
        ),
        remedy: "give one of the two a name of its own".into(),
    })
}

/// A complaint if source that spells the name does not compile.
fn keyword(name: FieldName) -> Option<String> {
    let text = name.as_str();
    let languages = match (Keywords::C.have(text), Keywords::RUST.have(text)) {
        (true, true) => "C and Rust",
        (true, false) => "C",
        (false, true) => "Rust",
        (false, false) => return None,
    };
    Some(format!("{name} is a keyword of {languages}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    fn schema(owner: &str, fields: &str) -> Schema {
        Schema::parse("edge.toml", &format!("owner = \"{owner}\"\n{fields}")).unwrap()
    }

    fn field(name: &str, kind: &str) -> String {
        format!("[[field]]\nname = \"{name}\"\ntype = \"{kind}\"\ndoc = \"x\"\n")
    }

    #[test]
    fn what_hurts_is_found_with_what_to_write_instead() {
        for (fields, what, remedy) in [
            (
                field("edge_tenant", "u32"),
                "repeats its owner",
                "call it tenant",
            ),
            (field("int", "u32"), "int is a keyword of C", "another name"),
            (
                field("match", "u32"),
                "match is a keyword of Rust",
                "another name",
            ),
            (
                field("while", "u32"),
                "keyword of C and Rust",
                "another name",
            ),
            (
                field("a", "u32").replace("\"x\"", "\" \""),
                "what it means",
                "doc",
            ),
            (
                field("a", "enum8") + "names = { b = 1 }",
                "0 has no name",
                "= 0",
            ),
            (
                field("srcip", "ipv4") + &field("src_ip", "ipv4"),
                "from srcip of edge",
                "a name of its own",
            ),
        ] {
            let found = lints([&schema("edge", &fields)]);
            let [lint] = &found[..] else {
                panic!("{found:?}")
            };
            assert!(lint.what.contains(what), "{lint:?}");
            assert!(lint.remedy.contains(remedy), "{lint:?}");
        }
        let [lint] = &lints([&schema("loop", "")])[..] else {
            panic!("one lint")
        };
        assert_eq!((lint.owner.as_str(), lint.field), ("loop", None));
    }

    #[test]
    fn names_of_two_owners_that_look_alike_are_found() {
        let edge = schema("edge", &field("rx_if_index", "u32"));
        let builtin = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
        let [lint] = &lints([&builtin, &edge])[..] else {
            panic!("one lint")
        };
        assert!(lint.what.ends_with("rx_ifindex of pktmeta"), "{lint:?}");
    }

    #[test]
    fn well_named_fields_have_no_lints() {
        let fields = field("edges", "u32") + &field("seen_at", "timestamp") + &field("on", "bits8");
        let edge = schema("edge", &(fields + "names = { b = 1 }"));
        let builtin = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
        assert_eq!(lints([&builtin, &edge]), []);
    }

    #[test]
    fn a_textof_two_owners_is_a_conflict() {
        let edge = schema("edge", &(field("tenant", "u32") + &field("zone", "u8")));
        let dns = schema("dns", &(field("zone", "u8") + &field("qtype", "u16")));
        let conflicts = conflicts([&edge, &dns]);
        let [(first, second)] = conflicts[..] else {
            panic!("{conflicts:?}")
        };
        assert_eq!(first.wanted.name, second.wanted.name);
        let owners = [first, second].map(|side| side.wanted.owner.to_string());
        assert_eq!(owners, ["edge", "dns"]);
        assert_eq!(super::conflicts([&edge, &edge]), []);
    }
}
