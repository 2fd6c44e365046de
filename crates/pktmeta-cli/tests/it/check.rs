//! `pktmeta check`

use crate::command::{PKTMETA, Ran, Run, Scratch};
use serde_json::{Value, json};
use std::process::Command;

const EDGE: &str = r#"
owner = "edge"
[[field]]
name = "tenant"
type = "u32"
hot = true
wire = true
doc = "Customer that owns the source prefix"
"#;

fn check(arguments: &[&str]) -> Ran {
    Command::new(PKTMETA).arg("check").args(arguments).ran()
}

fn check_json(arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = check(&[arguments, &["--json"]].concat());
    let json = serde_json::from_str(&ran.stdout);
    (
        ran.code,
        json.unwrap_or_else(|error| panic!("{error}: {ran:#?}")),
    )
}

/// It ended with 1, and this is the last thing it said.
#[track_caller]
fn ends_with(ran: &Ran, last: &str) {
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(ran.stderr, format!("error: {last}\n"), "{ran:#?}");
}

#[test]
fn a_schema_is_shown_with_its_cost_beside_the_built_in_fields() {
    let scratch = Scratch::new();
    let edge = scratch.file("edge.toml", EDGE);
    let said = check(&[&edge, "--strict"]).succeeds();
    for part in [
        "pktmeta       5     31",
        "edge          1      5         5.0          24",
        "all           6     40        40.0          48",
        "rx_timestamp   pktmeta  timestamp      9",
        "no GRO    rx_timestamp of pktmeta",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    assert!(
        said.ends_with("ok        the area has 48 of 216 bytes\n"),
        "{said}"
    );
    let said = check(&[&edge, "--no-builtin"]).succeeds();
    assert!(!said.contains("pktmeta") && !said.contains("GRO"), "{said}");
    assert!(
        said.ends_with("ok        the area has 24 of 216 bytes\n"),
        "{said}"
    );
}

#[test]
fn a_budget_that_is_not_kept_says_by_how_much() {
    let scratch = Scratch::new();
    let edge = scratch.file("edge.toml", EDGE);
    let ran = check(&[&edge, "--budget", "32"]);
    ends_with(&ran, "the area has 48 bytes, 16 past the budget of 32");
    assert!(ran.stdout.contains("COSTLY FIELD"), "{ran:#?}");
    check(&[&edge, "--budget", "48"]).succeeds();
    let refused = check(&[&edge, "--budget", "217"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
}

#[test]
fn more_fields_than_a_host_has_numbers_for_are_too_many() {
    let scratch = Scratch::new();
    let flags = |count| {
        let flag = |n| format!("[[field]]\nname = \"f{n}\"\ntype = \"flag\"\n");
        let flags = (0..count).map(flag).collect::<String>();
        scratch.file("flags.toml", format!("owner = \"flags\"\n{flags}"))
    };
    check(&[&flags(63), "--no-builtin"]).succeeds();
    let many = flags(64);
    let place = format!("{many}:192:8: the schema has 64 fields, at most 63 have a number");
    check(&[&many, "--no-builtin"]).fails(&[&place, "= leave fields out"]);
}

#[test]
fn two_files_of_an_owner_are_two_versions() {
    let scratch = Scratch::new();
    let old = scratch.file("old.toml", EDGE);
    let zone = "[[field]]\nname = \"zone\"\ntype = \"u16\"\ndoc = \"x\"\n";
    let new = scratch.file("new.toml", format!("{EDGE}{zone}"));
    let said = check(&[&old, &new]).succeeds();
    for part in [
        &format!("edge: {new} is the version after {old}\n"),
        "ok        zone: added, u16\n",
        "edge          2      8",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let ran = check(&[&new, &old]);
    ends_with(&ran, "1 breaking change");
    for part in [
        "BREAKING  zone: removed, but not retired\n",
        "          = add \"zone\" to `retired`\n",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {ran:#?}");
    }
    let said = check(&[&old, &old]).succeeds();
    assert!(said.contains("ok        nothing changed\n"), "{said}");
    check(&[&old, &new, &old]).fails(&["all have owner edge", "at most two versions"]);
}

#[test]
fn the_built_in_fields_have_versions_too() {
    let scratch = Scratch::new();
    let theirs = scratch.file("theirs.toml", EDGE.replace("\"edge\"", "\"pktmeta\""));
    let ran = check(&[&theirs]);
    ends_with(&ran, "5 breaking changes");
    assert!(
        ran.stdout.contains("rx_queue: removed, but not retired"),
        "{ran:#?}"
    );
    check(&[&theirs, "--no-builtin"]).succeeds();
}

#[test]
fn a_name_of_two_owners_is_shown_with_both_files() {
    let scratch = Scratch::new();
    let edge = scratch.file("edge.toml", EDGE);
    let dns = EDGE.replace("edge", "dns").replace("u32", "u64");
    let dns = scratch.file("dns.toml", dns);
    let ran = check(&[&edge, &dns]);
    ends_with(&ran, "1 conflict");
    let both = format!("CONFLICT  tenant: u32 of edge in {edge}, u64 of dns in {dns}\n");
    assert!(ran.stdout.contains(&both), "{ran:#?}");
}

#[test]
fn warnings_are_faults_only_if_that_is_wanted() {
    let scratch = Scratch::new();
    let field = "[[field]]\nname = \"edge_zone\"\ntype = \"u16\"\n";
    let edge = scratch.file("edge.toml", format!("{EDGE}{field}"));
    let said = check(&[&edge]).succeeds();
    for part in [
        "warning   edge_zone of edge: its name repeats",
        "          = call it zone\n",
        "warning   edge_zone of edge: nothing says what it means\n",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    ends_with(&check(&[&edge, "--strict"]), "2 warnings");
}

#[test]
fn json_says_the_same() {
    let scratch = Scratch::new();
    let old = scratch.file("old.toml", EDGE);
    let rare = EDGE.replace("hot = true", "hot = true\npresent = 0.25");
    let truths =
        "[[field]]\nname = \"a\"\ntype = \"bool\"\n[[field]]\nname = \"b\"\ntype = \"flag\"\n";
    let new = scratch.file(
        "new.toml",
        format!("{rare}{truths}").replace("wire", "trusted"),
    );
    let dns = scratch.file("dns.toml", EDGE.replace("edge", "dns"));
    let (code, report) = check_json(&[&old, &new, &dns]);
    assert_eq!(code, Some(1));
    assert_eq!(report["ok"], false);
    assert_eq!(
        report["faults"],
        json!(["2 breaking changes", "1 conflict"])
    );
    assert_eq!(
        (&report["area"], &report["budget"]),
        (&json!(64), &json!(216))
    );
    let edge = &report["owners"][1];
    let about = json!({ "owner": "edge", "file": new, "old_file": old, "fields": 3, "bytes": 10,
        "expected_bytes": 10.0, "area": 24 });
    assert_eq!(*edge, about);
    let changes = report["changes"].as_array().unwrap();
    let breaking: Vec<_> = changes
        .iter()
        .filter(|change| change["breaking"] == true)
        .collect();
    assert_eq!(breaking[0]["change"], "wire: true -> false");
    assert_eq!(breaking[1]["change"], "trusted: false -> true");
    assert!(breaking.iter().all(|change| change["remedy"].is_string()));
    assert_eq!(report["conflicts"][0]["sides"][1]["file"], dns.as_str());
    let savings = report["savings"].as_array().unwrap();
    assert_eq!(savings[0]["expected_bytes"], 3.75);
    assert_eq!(savings[1]["fields"], json!(["a", "b"]));
    assert_eq!(report["defeat_gro"][0]["field"], "rx_timestamp");
    assert_eq!(report["warnings"][0]["field"], "a");
    let (code, report) = check_json(&[&old]);
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)));
}

#[test]
fn a_schema_with_a_mistake_is_shown_with_its_place_by_check() {
    let scratch = Scratch::new();
    let file = scratch.file("edge.toml", EDGE.replace("u32", "u33"));
    check(&[&file]).fails(&[&format!("{file}:5:8: "), "^^^^^"]);
    check(&["/nonexistent/edge.toml"]).fails(&["read the schema /nonexistent/edge.toml"]);
}
