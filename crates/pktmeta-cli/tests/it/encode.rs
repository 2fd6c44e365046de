//! `pktmeta encode` and `decode`

use crate::{
    command::{PKTMETA, Ran, Run, Scratch},
    lab::{Lab, SCHEMA},
};
use pktmeta_testkit::sandbox::in_sandbox;
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// A field of every type, as it is written and as it is read.
const FIELDS: [(&str, &str, &str); 14] = [
    ("flag", "true", "true"),
    ("bool", "false", "false"),
    ("u64", "0xffffffffffffffff", "18446744073709551615"),
    ("u128", "9007199254740993", "9007199254740993"),
    ("i16", "-3", "-3"),
    ("enum8", "log", "log"),
    ("bits16", "wan|0x2", "wan|0x2"),
    ("timestamp", "1700000000000000000", "1700000000000000000"),
    ("ipv4", "192.0.2.1", "192.0.2.1"),
    ("ipv6", "2001:DB8::1", "2001:db8::1"),
    ("socket", "[2001:db8::1]:53", "[2001:db8::1]:53"),
    ("mac", "02:00:5e:00:53:01", "02:00:5e:00:53:01"),
    ("bytes[3]", "AABBCC", "aabbcc"),
    ("bytes[..8]", "", ""),
];

fn schema() -> String {
    let fields = FIELDS.iter().enumerate().map(|(n, (kind, ..))| {
        let names = match *kind {
            "enum8" => "names = { pass = 0, log = 7 }\n",
            "bits16" => "names = { lan = 0, wan = 9 }\n",
            _ => "",
        };
        format!("[[field]]\nname = \"f{n}\"\ntype = \"{kind}\"\n{names}")
    });
    format!("owner = \"edge\"\n{}", fields.collect::<String>())
}

fn run(arguments: &[&str]) -> Ran {
    Command::new(PKTMETA).args(arguments).ran()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run(arguments).succeeds()).unwrap()
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let scratch = Scratch::new();
    let schema = scratch.file("edge.toml", schema());
    let fields = FIELDS.iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(n, (_, text, _))| format!("f{n}={text}"))
        .collect();
    let mut encode = vec!["encode", "--schema", &schema];
    encode.extend(fields.iter().map(String::as_str));
    let hex = run(&encode).succeeds();
    let (hex, rest) = hex.split_once('\n').unwrap();
    assert_eq!(rest, "", "one line");
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(
        hex.starts_with("504d10") && hex.chars().all(digits),
        "{hex}"
    );

    let table = run(&["decode", "--schema", &schema, hex]).succeeds();
    let mut lines = table.lines();
    let heading: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["FIELD", "OWNER", "TYPE", "VALUE"]);
    for (n, (line, (kind, _, text))) in lines.by_ref().zip(FIELDS).enumerate() {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = format!("f{n}");
        let expected = [&name, "edge", kind, text];
        let given = expected.iter().filter(|word| !word.is_empty()).copied();
        assert_eq!(words, given.collect::<Vec<_>>(), "{table}");
    }
    assert_eq!(lines.next(), None);

    encode.push("--json");
    let encoded = json(&encode);
    assert_eq!(encoded["hex"], hex);
    assert_eq!(encoded["bytes"], hex.len() / 2);
    assert_eq!(
        json(&["decode", "--schema", &schema, hex, "--json"]),
        encoded
    );
    let values = encoded["fields"].as_array().unwrap().iter();
    let values: Vec<_> = values.map(|field| field["value"].clone()).collect();
    let first = json!([true, false, u64::MAX, "9007199254740993", -3, 7, 514]);
    assert_eq!(values[..7], *first.as_array().unwrap());
    assert_eq!(values[8], "192.0.2.1");
    assert_eq!(encoded["fields"][5]["text"], "log");
}

#[test]
fn a_value_that_its_field_cannot_have_is_shown_as_odd_beside_the_others() {
    let scratch = Scratch::new();
    let fields =
        "[[field]]\nname = \"vip\"\ntype = \"bool\"\n[[field]]\nname = \"tenant\"\ntype = \"u32\"";
    let schema = scratch.file("edge.toml", format!("owner = \"edge\"\n{fields}"));
    // A bool of 2, a u32 twice, and two bytes behind the record.
    let hex = "504d1011 010102 8207000000 8208000000 ffff";
    let ran = run(&["decode", "--schema", &schema, hex]);
    assert_eq!(
        ran.stderr,
        "pktmeta: behind the record 2 bytes more, which are none of it\n"
    );
    let table = ran.succeeds();
    let values: Vec<_> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect();
    assert_eq!(values, ["?(02)", "7", "8"]);
    assert!(
        table.ends_with("8 (again: readers see the other)\n"),
        "{table}"
    );
    let json = json(&["decode", "--schema", &schema, hex, "--json"]);
    let fields = json["fields"].as_array().unwrap();
    assert_eq!(fields[0]["value"], json!({ "odd": "02" }));
    assert_eq!(fields[0]["text"], "?(02)");
    let read = |at: usize| (&fields[at]["value"], &fields[at]["again"]);
    assert_eq!(read(1), (&json!(7), &json!(false)));
    assert_eq!(read(2), (&json!(8), &json!(true)));
}

#[test]
fn the_hex_may_be_written_in_any_usual_way() {
    let expected = json(&["decode", "--schema", SCHEMA, "--json", "504d10098107000000"]);
    assert_eq!(expected["fields"][0]["value"], 7);
    for hex in [
        "50 4d 10 09 81 07 00 00 00",
        "0x504D10098107000000",
        "50:4d:10:09:81:07:00:00:00\n",
        // The rest of a metadata area.
        "504d 1009 8107 0000 0000 0000",
    ] {
        let decode = ["decode", "--schema", SCHEMA, "--json"];
        assert_eq!(json(&[&decode[..], &[hex]].concat()), expected);
        let words: Vec<_> = hex.split_whitespace().collect();
        assert_eq!(json(&[&decode[..], &words].concat()), expected);
        let mut piped = Command::new(PKTMETA)
            .args(decode)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = piped.stdin.take().unwrap();
        stdin.write_all(hex.as_bytes()).unwrap();
        drop(stdin);
        let ran = Ran::from(piped.wait_with_output().unwrap());
        let said: Value = serde_json::from_str(&ran.succeeds()).unwrap();
        assert_eq!(said, expected);
    }
}

#[test]
fn a_type_that_is_not_known_is_shown_by_its_number_and_bytes() {
    let record = ["decode", "--schema", SCHEMA, "504d 1007 09 01 aa"];
    let table = run(&record).succeeds();
    let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["type", "9", "aa"], "{table}");
    let field = &json(&[&record[..], &["--json"]].concat())["fields"][0];
    assert_eq!(
        (&field["number"], &field["text"]),
        (&json!(9), &json!("aa"))
    );
    assert_eq!(
        (&field["name"], &field["value"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn what_cannot_be_encoded_says_why_and_what_to_write() {
    let scratch = Scratch::new();
    let schema = scratch.file("edge.toml", schema());
    let other = scratch.file(
        "dns.toml",
        "owner = \"dns\"\n[[field]]\nname = \"f1\"\ntype = \"u8\"",
    );
    for (arguments, parts) in [
        (&["f1"][..], &["\"f1\" has no =", "name=value"][..]),
        (&["f99=1"], &["no field is called \"f99\""]),
        (
            &["f5=drop"],
            &["\"drop\" is no value for f5: enum8", "pass, log"],
        ),
        (&["f4=40000"], &["-32768 to 32767"]),
        (&["f1=true", "f1=true"], &["f1 is given twice"]),
        (
            &["f1=true", "--schema", &other],
            &["f1", "owner dns", "owner edge"],
        ),
    ] {
        let encode = ["encode", "--schema", &schema];
        run(&[&encode[..], arguments].concat()).fails(parts);
    }
    let blobs: String = (0..3)
        .map(|n| format!("[[field]]\nname = \"b{n}\"\ntype = \"bytes[64]\"\n"))
        .collect();
    let blobs = scratch.file("blobs.toml", format!("owner = \"blobs\"\n{blobs}"));
    let fields = [0, 1, 2].map(|n| format!("b{n}={}", "00".repeat(64)));
    let [b0, b1, b2] = fields.each_ref().map(String::as_str);
    let socket = "f10=192.0.2.1:53";
    let encode = [
        "encode", "--schema", &schema, "--schema", &blobs, b0, b1, b2, socket,
    ];
    run(&encode).fails(&["222 bytes, 6 more", "the largest is b2 with 66 bytes"]);
}

#[test]
fn what_is_no_record_says_where() {
    for (hex, parts) in [
        ("504d1", ["at character 1", "odd number"]),
        ("50 4g", ["'g' at character 5", "two hex digits"]),
        ("00 00 00 00", ["not a pktmeta record", "504d"]),
        ("504d2004", ["version 2", "version 1"]),
        ("504d1009", ["says that it has 9 bytes", "these are 4"]),
        ("504d100601ff", ["at byte 4 runs past", "ends at byte 6"]),
    ] {
        run(&["decode", "--schema", SCHEMA, hex]).fails(&parts);
    }
}

#[test]
fn a_host_that_is_up_has_numbers_of_its_own() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let number = |arguments: &[&str]| {
            let said = lab.pktmeta(&[&["encode", "--json", "tenant=7"], arguments].concat());
            let said: Value = serde_json::from_str(&said.succeeds()).unwrap();
            said["fields"][0]["number"].clone()
        };
        assert_eq!(number(&["--schema", SCHEMA]), 1);
        let here = number(&[]);
        assert_ne!(here, 1);
        assert_eq!(number(&["--schema", SCHEMA, "--host"]), here);
        let hex = lab.pktmeta(&["encode", "tenant=7"]).succeeds();
        let table = lab.pktmeta(&["decode", hex.trim()]).succeeds();
        assert!(table.contains("tenant  edge   u32   7"), "{table}");
        lab.down();
        lab.pktmeta(&["encode", "tenant=7"])
            .fails(&["no field is known here"]);
        let shown = lab.pktmeta(&["decode", hex.trim()]);
        assert!(
            shown.stderr.contains("--schema FILE names them"),
            "{shown:#?}"
        );
        assert!(shown.succeeds().contains("07000000"));
    });
}
