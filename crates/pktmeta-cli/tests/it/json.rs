//! What `--json` prints has the shapes of `docs/json/`: each key that is printed is described
//! there.

use crate::{
    bind::{probe, probe_schema},
    command::{Run, Scratch, pktmeta, text},
    lab::{Lab, SCHEMA, eventually},
};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

#[test]
fn what_is_printed_about_the_host_has_the_documented_shape_up_or_down() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let [status, sockets, list, doctor] =
            ["status", "sockets", "registry-list", "doctor"].map(Shape::documented);
        let print = |command: &[&str]| {
            let ran = lab.pktmeta(&[command, &["--json"]].concat());
            serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"))
        };
        status.check(&print(&["status"]));
        list.check(&print(&["registry", "list"]));
        doctor.check(&print(&["doctor"]));
        let hidden = text(scratch.path().join("no bpffs"));
        doctor.check(&print(&["doctor", "--bpffs", &hidden]));

        let object = probe(&scratch);
        for name in ["stays", "gone"] {
            let schema = probe_schema("u128").replace("probe", name);
            let schema = scratch.file("lab.toml", schema);
            lab.pktmeta(&["registry", "register", &schema]).succeeds();
        }
        lab.pktmeta(&["registry", "remove", "gone"]).succeeds();
        let bound = text(scratch.path().join("bound.o"));
        let bind = Shape::documented("bind");
        bind.check(&print(&["bind", &object, "-o", &bound, "--allow-unbound"]));

        lab.try_up(&Lab::ALL_FIELDS).succeeds();
        let (_server, _client) = lab.connection(IpVersion::V4, 1);
        let _datagrams = lab.udp_server(IpVersion::V6);
        status.check(&print(&["status"]));
        let listed = print(&["sockets", "--all"]);
        sockets.check(&listed);
        assert!(listed.as_array().unwrap().len() >= 3, "{listed:#}");
        let listed = print(&["registry", "list", "--retired"]);
        list.check(&listed);
        assert_ne!(listed["retired"], json!([]));
        let schema = scratch.file("probe.toml", probe_schema("u32"));
        let bound = ["bind", &object, "-o", &bound, "--schema", &schema];
        bind.check(&print(&bound));

        let event = Shape::documented("event");
        let cgroup = text(sandbox.cgroup());
        let watch = ["watch", "--json", "--datagrams", "--cgroup", &cgroup];
        let count = || lab.attached().iter().map(|(_, count)| count).sum::<u32>();
        let before = count();
        let mut watch = pktmeta(lab.hosts.server(), &watch).running();
        eventually("it watches", || count() >= before + 2);
        lab.datagram(IpVersion::V4, 2).unwrap();
        lab.connection(IpVersion::V6, 3);
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        for what in ["datagram", "accepted"] {
            let events = lines.by_ref().map(|line| {
                let printed: Value = serde_json::from_str(&line.unwrap()).unwrap();
                event.check(&printed);
                printed
            });
            assert!(events.into_iter().any(|event| event["what"] == what));
        }
    });
}

#[test]
fn what_is_printed_about_files_has_the_documented_shape() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let print = |command: &[&str]| {
            let ran = lab.pktmeta(&[command, &["--json"]].concat());
            serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"))
        };
        let record = Shape::documented("record");
        record.check(&print(&["encode", "--schema", SCHEMA, "tenant=7"]));
        // Also what is not known, is odd, or stands there twice.
        let many = "504d 1013 8107000000 8108000000 3f01aa 0100";
        for hex in ["504d1004", many, "504d 1007 01 01 07"] {
            record.check(&print(&["decode", "--schema", SCHEMA, hex]));
        }
        let check = Shape::documented("check");
        let [old, new, other] = [
            "owner = \"edge\"\n[[field]]\nname = \"a\"\ntype = \"bool\"\n",
            "owner = \"edge\"\n[[field]]\nname = \"a\"\ntype = \"u8\"\nhot = true\npresent = 0.1\n\
             [[field]]\nname = \"b\"\ntype = \"socket\"\n",
            "owner = \"dns\"\n[[field]]\nname = \"a\"\ntype = \"u64\"\n",
        ];
        let [old, new, other] = [("old", old), ("new", new), ("other", other)]
            .map(|(name, schema)| scratch.file(&format!("{name}.toml"), schema));
        let printed = print(&["check", &old, &new, &other]);
        check.check(&printed);
        for list in [
            "owners",
            "changes",
            "conflicts",
            "fields",
            "savings",
            "defeat_gro",
            "warnings",
        ] {
            assert_ne!(printed[list], json!([]), "{list}: {printed:#}");
        }
        check.check(&print(&["check", SCHEMA]));
    });
}

/// A JSON Schema, of which this knows the words that ours have. An object that names its properties
/// has no others: whoever prints another describes it.
pub(crate) struct Shape(Value);

impl Shape {
    pub(crate) fn documented(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json");
        let text = fs::read_to_string(path.join(format!("{name}.json"))).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    #[track_caller]
    pub(crate) fn check(&self, printed: &Value) {
        if let Err(why) = self.fits(&self.0, printed, "") {
            panic!("{why}\nin {printed:#}");
        }
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let words = schema.as_object().unwrap();
        for (word, given) in words {
            match word.as_str() {
                "$schema" | "$defs" | "title" | "description" => Ok(()),
                "$ref" => {
                    let pointer = given.as_str().unwrap().strip_prefix('#').unwrap();
                    self.fits(self.0.pointer(pointer).unwrap(), value, at)
                }
                "anyOf" => {
                    let mut tried = given.as_array().unwrap().iter();
                    match tried.any(|schema| self.fits(schema, value, at).is_ok()) {
                        true => Ok(()),
                        false => Err(format!("{at} is none of what it may be: {value}")),
                    }
                }
                "type" => {
                    let one = [given.clone()];
                    let types = given.as_array().map_or(&one[..], Vec::as_slice);
                    let is = |name: &Value| match name.as_str().unwrap() {
                        "null" => value.is_null(),
                        "boolean" => value.is_boolean(),
                        "integer" => value.is_i64() || value.is_u64(),
                        "number" => value.is_number(),
                        "string" => value.is_string(),
                        "array" => value.is_array(),
                        "object" => value.is_object(),
                        other => panic!("there is no type {other}"),
                    };
                    match types.iter().any(is) {
                        true => Ok(()),
                        false => Err(format!("{at} is {value}, not {given}")),
                    }
                }
                "enum" => match given.as_array().unwrap().contains(value) {
                    true => Ok(()),
                    false => Err(format!("{at} is {value}, none of {given}")),
                },
                "required" => {
                    let missing = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                    let mut keys = given.as_array().unwrap().iter();
                    match keys.find(|key| value.is_object() && missing(key)) {
                        Some(key) => Err(format!("{at} has no {key}")),
                        None => Ok(()),
                    }
                }
                "properties" => self.each(value.as_object(), at, |key| given.get(key)),
                "additionalProperties" => self.each(value.as_object(), at, |_| Some(given)),
                "items" => {
                    let mut items = value.as_array().into_iter().flatten().enumerate();
                    items.try_for_each(|(nth, item)| self.fits(given, item, &format!("{at}/{nth}")))
                }
                other => panic!("{other} is a word that this does not know"),
            }?;
        }
        Ok(())
    }

    fn each<'a>(
        &self,
        object: Option<&serde_json::Map<String, Value>>,
        at: &str,
        schema: impl Fn(&str) -> Option<&'a Value>,
    ) -> Result<(), String> {
        for (key, value) in object.into_iter().flatten() {
            let at = format!("{at}/{key}");
            let Some(schema) = schema(key) else {
                return Err(format!("{at} is not described"));
            };
            self.fits(schema, value, &at)?;
        }
        Ok(())
    }
}

#[test]
fn a_shape_is_told_from_others() {
    let shape = Shape(json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": { "type": ["integer", "null"] },
            "b": { "type": "array", "items": { "$ref": "#/$defs/b" } },
            "c": { "additionalProperties": { "enum": [1] } },
        },
        "$defs": { "b": { "anyOf": [{ "type": "boolean" }, { "type": "string" }] } },
    }));
    for fits in [
        json!({ "a": 1 }),
        json!({ "a": null, "b": [true, "x"], "c": { "d": 1 } }),
    ] {
        shape.check(&fits);
    }
    for other in [
        json!([]),
        json!({}),
        json!({ "a": 1.5 }),
        json!({ "a": "1" }),
        json!({ "a": 1, "b": [1] }),
        json!({ "a": 1, "c": { "d": 2 } }),
        json!({ "a": 1, "d": 1 }),
    ] {
        assert!(shape.fits(&shape.0, &other, "").is_err(), "{other}");
    }
}
