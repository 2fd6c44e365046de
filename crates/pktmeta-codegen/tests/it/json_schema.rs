//! The JSON Schema of schema files says what the parser does.

use pktmeta_codegen::{Language, generate};
use pktmeta_core::{FieldName, Kind, schema::Schema};
use regex::Regex;
use serde_json::{Value, json};

#[test]
fn its_keys_are_those_of_the_parser() {
    let schema = json_schema();
    for (text, properties) in [
        ("unknown_key = 1", "/properties"),
        (
            "owner = \"a\"\n[[field]]\nunknown_key = 1",
            "/$defs/field/properties",
        ),
    ] {
        let known = schema.pointer(properties).unwrap().as_object().unwrap();
        let mut keys: Vec<_> = known.keys().cloned().collect();
        let mut expected = expected_by_the_parser(text);
        keys.sort();
        expected.sort();
        assert_eq!(keys, expected);
    }
}

#[test]
fn its_words_are_those_of_the_parser() {
    let schema = json_schema();
    for (key, value, words) in [
        ("writers", "[\"unknown\"]", "writers/items"),
        ("varies", "\"unknown\"", "varies"),
        ("gro", "\"unknown\"", "gro"),
        ("clone", "\"unknown\"", "clone"),
        ("netns", "\"unknown\"", "netns"),
    ] {
        let text =
            format!("owner = \"a\"\n[[field]]\nname = \"a\"\ntype = \"u8\"\n{key} = {value}");
        let words = schema.pointer(&format!("/$defs/field/properties/{words}/enum"));
        let words: Vec<String> = serde_json::from_value(words.unwrap().clone()).unwrap();
        assert_eq!(words, expected_by_the_parser(&text), "{key}");
    }
}

#[test]
fn its_defaults_are_those_of_the_parser() {
    let schema = json_schema();
    let plain = "owner = \"a\"\nretired = []\n[[field]]\nname = \"a\"\ntype = \"u8\"\n";
    let without = Schema::parse("a.toml", plain).unwrap();
    let keys = schema.pointer("/$defs/field/properties").unwrap();
    let mut defaults = 0;
    for (key, property) in keys.as_object().unwrap() {
        if let Some(default) = property.get("default") {
            // These values are written alike in JSON and TOML.
            let with = Schema::parse("a.toml", &format!("{plain}{key} = {default}")).unwrap();
            assert_eq!(with, without, "{key}");
            defaults += 1;
        }
    }
    assert_eq!(defaults, 9);
}

#[test]
fn it_takes_the_types_and_names_that_the_parser_takes() {
    let schema = json_schema();
    let kinds = Kind::all().map(|kind| kind.to_string());
    let near = "u u7 u24 u256 u08 i1 enum64 enum enum128 bits128 bytes bytes[] bytes[0] bytes[65] \
                bytes[..0] bytes[..65] bytes[+8] bytes[08] bytes[100] bytes[.8] bytes[...8] \
                bytes[8 f32 Bool flags ipv5 sockets xmac";
    for name in kinds.chain(near.split(' ').map(str::to_owned)) {
        let valid = is_valid(&schema, &schema["$defs"]["type"], &json!(name));
        assert_eq!(valid, name.parse::<Kind>().is_ok(), "{name}");
    }
    let (longest, too_long) = ("a".repeat(27), "a".repeat(28));
    for name in [
        "a", "x1_y", "", "1x", "Tenant", "a-b", "_x", "é", &longest, &too_long,
    ] {
        let valid = is_valid(&schema, &schema["$defs"]["name"], &json!(name));
        assert_eq!(valid, name.parse::<FieldName>().is_ok(), "{name}");
    }
}

#[test]
fn it_takes_the_files_that_the_parser_takes() {
    let field = |rest: &str| format!("owner = \"a\"\n[[field]]\nname = \"a\"\n{rest}\n");
    let good = [
        include_str!("../../../pktmeta-core/vectors/edge.toml").to_owned(),
        include_str!("../../../pktmeta-core/vectors/lab.toml").to_owned(),
        pktmeta_core::builtin::SCHEMA.to_owned(),
        "owner = \"a\"".into(),
        field("type = \"u8\"\npresent = 1"),
        field("type = \"enum32\"\nnames = { a = 4294967295 }"),
        field("type = \"bits64\"\nnames = { a = 63 }"),
        field("type = \"bytes[..8]\"\nhot = false"),
        field("type = \"bytes[8]\"\nhot = true\nwriters = []"),
    ];
    let bad = [
        String::new(),
        "owner = 1".into(),
        "owner = \"A\"".into(),
        "owner = \"a\"\ncolour = 1".into(),
        "owner = \"a\"\nretired = [\"A\"]".into(),
        "owner = \"a\"\nfield = 1".into(),
        "owner = \"a\"\n[[field]]\nname = \"a\"".into(),
        "owner = \"a\"\n[[field]]\ntype = \"u8\"".into(),
        field("type = 8"),
        field("type = \"u9\""),
        field("type = \"u8\"\ncolour = 1"),
        field("type = \"u8\"\ndoc = 1"),
        field("type = \"u8\"\nhot = \"yes\""),
        field("type = \"u8\"\npresent = 1.5"),
        field("type = \"u8\"\npresent = -0.5"),
        field("type = \"u8\"\nwriters = \"xdp\""),
        field("type = \"u8\"\nwriters = [\"kernel\"]"),
        field("type = \"u8\"\ngro = \"none\""),
        field("type = \"u8\"\nnames = { a = 1 }"),
        field("type = \"enum8\""),
        field("type = \"enum8\"\nnames = {}"),
        field("type = \"enum8\"\nnames = { a = -1 }"),
        field("type = \"enum8\"\nnames = { a = 1.5 }"),
        field("type = \"enum8\"\nnames = { A = 1 }"),
        field("type = \"enum8\"\nnames = { a = 256 }"),
        field("type = \"enum16\"\nnames = { a = 65536 }"),
        field("type = \"enum32\"\nnames = { a = 4294967296 }"),
        field("type = \"bits8\"\nnames = { a = 8 }"),
        field("type = \"bits16\"\nnames = { a = 16 }"),
        field("type = \"bits32\"\nnames = { a = 32 }"),
        field("type = \"bits64\"\nnames = { a = 64 }"),
        field("type = \"bytes[..8]\"\nhot = true"),
    ];
    let schema = json_schema();
    for (text, taken) in good
        .map(|text| (text, true))
        .into_iter()
        .chain(bad.map(|text| (text, false)))
    {
        let file: toml::Table = text.parse().unwrap();
        let file = serde_json::to_value(file).unwrap();
        let parsed = Schema::parse("a.toml", &text);
        assert_eq!(parsed.is_ok(), taken, "{text}: {parsed:?}");
        assert_eq!(is_valid(&schema, &schema, &file), taken, "{text}");
    }
}

/// A validator of what this schema uses of JSON Schema. It knows no other words, so that nothing
/// goes unchecked.
fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let object = value.as_object();
    let holds = |word: &str, argument: &Value| match word {
        "$comment" | "$schema" | "$defs" | "title" | "description" | "default" => true,
        "$ref" => {
            let pointer = argument.as_str().unwrap().strip_prefix('#').unwrap();
            is_valid(root, root.pointer(pointer).unwrap(), value)
        }
        "type" => match argument.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("type {other}"),
        },
        "const" => argument == value,
        "enum" => argument.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_none_or(|text| {
            let pattern = Regex::new(argument.as_str().unwrap()).unwrap();
            pattern.is_match(text)
        }),
        "minimum" => value
            .as_f64()
            .is_none_or(|number| number >= argument.as_f64().unwrap()),
        "maximum" => value
            .as_f64()
            .is_none_or(|number| number <= argument.as_f64().unwrap()),
        "minProperties" => {
            object.is_none_or(|object| object.len() as u64 >= argument.as_u64().unwrap())
        }
        "required" => object.is_none_or(|object| {
            let mut keys = argument.as_array().unwrap().iter();
            keys.all(|key| object.contains_key(key.as_str().unwrap()))
        }),
        "properties" => object.is_none_or(|object| {
            let known = argument.as_object().unwrap();
            known.iter().all(|(key, schema)| {
                let value = object.get(key);
                value.is_none_or(|value| is_valid(root, schema, value))
            })
        }),
        "additionalProperties" => object.is_none_or(|object| {
            let known = schema.get("properties");
            let mut others = object
                .iter()
                .filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()));
            match argument {
                Value::Bool(false) => others.next().is_none(),
                _ => others.all(|(_, value)| is_valid(root, argument, value)),
            }
        }),
        "propertyNames" => object.is_none_or(|object| {
            let mut keys = object.keys();
            keys.all(|key| is_valid(root, argument, &json!(key)))
        }),
        "items" => value.as_array().is_none_or(|items| {
            let mut items = items.iter();
            items.all(|item| is_valid(root, argument, item))
        }),
        "not" => !is_valid(root, argument, value),
        "anyOf" => {
            let mut cases = argument.as_array().unwrap().iter();
            cases.any(|case| is_valid(root, case, value))
        }
        "allOf" => {
            let mut cases = argument.as_array().unwrap().iter();
            cases.all(|case| is_valid(root, case, value))
        }
        "if" => {
            let branch = match is_valid(root, argument, value) {
                true => "then",
                false => "else",
            };
            let branch = schema.get(branch);
            branch.is_none_or(|branch| is_valid(root, branch, value))
        }
        "then" | "else" => schema.get("if").is_some(),
        other => panic!("{other} is not known here"),
    };
    let mut words = schema.as_object().unwrap().iter();
    words.all(|(word, argument)| holds(word, argument))
}

/// What the parser says would have been right in a text in which it knows a word not.
fn expected_by_the_parser(text: &str) -> Vec<String> {
    let message = Schema::parse("a.toml", text).unwrap_err().to_string();
    let (_, expected) = message.split_once("expected ").unwrap();
    let line = expected.lines().next().unwrap();
    let words = line.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn json_schema() -> Value {
    let files = generate(Language::JsonSchema, &crate::input()).unwrap();
    serde_json::from_str(&files[0].text).unwrap()
}
