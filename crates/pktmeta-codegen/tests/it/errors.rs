//! What cannot be generated, and what the message says.

use pktmeta_codegen::{Error, Input, Language, generate};
use pktmeta_core::{Registry, schema::Schema};
use std::error::Error as _;

fn schema(owner: &str, fields: &[(&str, &str)]) -> Schema {
    let mut text = format!("owner = \"{owner}\"\n");
    for (name, rest) in fields {
        text += &format!("[[field]]\nname = \"{name}\"\n{rest}\n");
    }
    Schema::parse("test.toml", &text).unwrap()
}

const U8: &str = "type = \"u8\"";

#[test]
fn two_schemas_of_one_owner_are_refused() {
    let edge = || schema("edge", &[]);
    let error = Input::new(vec![edge(), schema("lab", &[]), edge()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "two of the schemas are of owner edge, whose files would have the same name"
    );
    assert!(error.remedy().contains("into one schema file"));
}

#[test]
fn fields_that_cannot_be_on_one_host_are_refused_with_both_sides() {
    let both = vec![
        schema("edge", &[("tenant", U8)]),
        schema("lab", &[("tenant", "type = \"u16\"")]),
    ];
    let error = Input::new(both).unwrap_err();
    let message = error.source().expect("what both say").to_string();
    for part in ["tenant", "edge", "u8", "lab", "u16"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(error.remedy().contains("rename"), "{}", error.remedy());
}

#[test]
fn names_that_become_one_in_a_language_are_refused_with_both_sides() {
    let verdict = "type = \"enum8\"\nnames = { size = 0 }";
    let x = "type = \"enum8\"\nnames = { x = 0 }";
    for (language, schemas, identifier) in [
        (
            Language::C,
            vec![schema("edge", &[("verdict", verdict)])],
            "EDGE_VERDICT_SIZE",
        ),
        (
            Language::C,
            vec![schema("edge", &[("x", U8), ("field", x)])],
            "EDGE_FIELD_X",
        ),
        (
            Language::C,
            vec![schema("a", &[("b_c", U8)]), schema("a_b", &[("c", U8)])],
            "A_B_C_NAME",
        ),
        (
            Language::Rust,
            vec![schema("edge", &[("a_value", x), ("a", x)])],
            "AValue",
        ),
        (
            Language::Rust,
            vec![schema("edge", &[("self", U8), ("self_", U8)])],
            "self_",
        ),
        (
            Language::Python,
            vec![schema("edge", &[("names", x)])],
            "Names",
        ),
        (
            Language::Python,
            vec![schema("edge", &[("a_value", x), ("a", x)])],
            "AValue",
        ),
        (
            Language::Python,
            vec![schema("class", &[]), schema("class_", &[])],
            "class_",
        ),
        (
            Language::Go,
            vec![schema("new", &[("registry", U8)])],
            "NewRegistry",
        ),
        (
            Language::Go,
            vec![schema(
                "edge",
                &[("verdict", verdict), ("verdict_size", U8)],
            )],
            "EdgeVerdictSize",
        ),
        (
            Language::Go,
            vec![schema("a", &[("b_c", U8)]), schema("a_b", &[("c", U8)])],
            "ABC",
        ),
    ] {
        let input = Input::new(schemas).unwrap();
        let error = generate(language, &input).unwrap_err();
        let Error::Collision {
            identifier: it,
            first,
            second,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(it, identifier);
        assert_ne!(first, second);
        let message = error.to_string();
        for part in [first, second] {
            assert!(message.contains(part), "{message}");
        }
        assert!(error.remedy().contains("rename"), "{}", error.remedy());
    }
}

#[test]
fn numbers_of_a_host_that_lacks_a_field_are_refused() {
    let input = crate::input().with_registry(Registry::new());
    let error = generate(Language::Wireshark, &input).unwrap_err();
    let message = error.to_string();
    for part in ["tenant", "edge", "u32"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(error.remedy().contains("register"), "{}", error.remedy());
}

#[test]
fn a_schema_without_fields_gives_files_all_the_same() {
    let input = Input::new(vec![schema("edge", &[])]).unwrap();
    for language in [
        Language::C,
        Language::Rust,
        Language::Python,
        Language::Go,
        Language::Wireshark,
        Language::Reference,
    ] {
        let files = generate(language, &input).unwrap();
        let packages = [Language::Python, Language::Go].contains(&language);
        assert_eq!(files.len(), 1 + usize::from(packages));
    }
}
