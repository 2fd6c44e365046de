//! The changes between two versions of a schema, and whether running programs can live with them.
//!
//! A field's number belongs to its name, owner and type for as long as a host keeps its registry;
//! programs, applications and peers were built with the old version and stay. Hence:
//!
//! | change | |
//! |---|---|
//! | add a field | allowed |
//! | remove a field and put its name into `retired` | allowed |
//! | remove a field without that | breaking: the name could come back with another meaning |
//! | bring back a name of the old `retired`, or drop it from there | breaking: what has the old meaning would read the new one |
//! | change a field's `type`, be it only the limit of `bytes[..N]` | breaking: it is another field; add one under another name and retire the old |
//! | change `owner` | breaking: every field would be another one |
//! | add a name to an enumeration or a set of bits | allowed |
//! | remove, rename or renumber such a name | breaking: values would change their meaning |
//! | let more `writers` write | allowed |
//! | take a writer away | breaking: programs that write the field are refused |
//! | `wire` from false to true | allowed |
//! | `wire` from true to false | breaking: peers lose the field |
//! | `trusted` from true to false | allowed |
//! | `trusted` from false to true | breaking: readers would take strangers' values for the host's |
//! | change `doc`, `hot`, `present`, `varies`, `gro`, `clone` or `netns`, or the order of the fields | allowed |

use super::{field::SchemaField, file::Schema};
use crate::{field::FieldName, registry::GroMerge};
use std::fmt::Display;

/// One difference between two versions of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The field it is about; `None` if it is about the schema.
    pub field: Option<FieldName>,
    /// The difference.
    pub what: String,
    /// Why programs that were built with the old version cannot live with it; `None` if they can.
    pub breaking: Option<Breaking>,
}

/// Why a change is breaking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breaking {
    /// The damage.
    pub reason: &'static str,
    /// What to do instead.
    pub remedy: String,
}

impl Schema {
    /// The changes since the version `old`, judged by the table of `docs/schema.md`.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = self.schema_changes(old);
        for before in old.fields() {
            let name = before.wanted.name;
            changes.extend(match self.by_name(name.as_str()) {
                Some(now) => field_changes(before, now),
                None if self.retired.contains(&name) => {
                    vec![allowed(name, "removed, and retired")]
                }
                None => vec![breaking(
                    name,
                    "removed, but not retired",
                    "the name could come back with another meaning, which old readers do not know",
                    format!("add {name:?} to `retired`"),
                )],
            });
        }
        let added = self.fields().iter().map(|field| &field.wanted);
        let added = added.filter(|wanted| old.by_name(wanted.name.as_str()).is_none());
        changes.extend(
            added.map(|wanted| match old.retired.contains(&wanted.name) {
                false => allowed(wanted.name, format!("added, {}", wanted.kind)),
                true => breaking(
                    wanted.name,
                    "brought back, though it was retired",
                    "programs and records with its old meaning may still be about",
                    format!("use another name, and keep {:?} in `retired`", wanted.name),
                ),
            }),
        );
        changes.extend(self.retired_changes(old));
        changes
    }

    fn schema_changes(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.owner != old.owner {
            changes.push(breaking(
                None,
                format!("owner: {} -> {}", old.owner, self.owner),
                "a field belongs to its owner: all of them would be other fields",
                format!("keep owner = \"{}\"", old.owner),
            ));
        }
        if self.doc != old.doc {
            changes.push(allowed(None, "doc changed"));
        }
        changes
    }

    /// Changes of retired names that are fields in neither version.
    fn retired_changes(&self, old: &Self) -> Vec<Change> {
        let is_field = |schema: &Self, name: &FieldName| schema.by_name(name.as_str()).is_some();
        let dropped = old.retired.iter().filter(|name| {
            // A name that is a field now was brought back, and is reported as that.
            !self.retired.contains(name) && !is_field(self, name)
        });
        let dropped = dropped.map(|&name| {
            breaking(
                name,
                "taken out of `retired`",
                "the name could come back with another meaning, which old readers do not know",
                format!("put {name:?} back into `retired`"),
            )
        });
        let new = self.retired.iter();
        let new = new.filter(|name| !old.retired.contains(name) && !is_field(old, name));
        dropped
            .chain(new.map(|&name| allowed(name, "retired")))
            .collect()
    }
}

fn field_changes(old: &SchemaField, new: &SchemaField) -> Vec<Change> {
    let name = old.wanted.name;
    let mut changes = match old.wanted.kind == new.wanted.kind {
        true => value_name_changes(old, new),
        // If the type changed, names of values are not compared.
        false => vec![breaking(
            name,
            format!("type: {} -> {}", old.wanted.kind, new.wanted.kind),
            "a field's number belongs to its type: readers of the old one find nothing",
            format!(
                "keep {}; or add a field under another name and retire {name}",
                old.wanted.kind
            ),
        )],
    };
    changes.extend(writer_changes(old, new));
    let (before, after) = (old.wanted.policy, new.wanted.policy);
    if let Some(what) = switched("wire", before.wire, after.wire) {
        changes.push(match after.wire {
            true => allowed(name, what),
            false => breaking(
                name,
                what,
                "peers lose the field",
                "keep wire = true until no peer reads it, then retire the field".into(),
            ),
        });
    }
    if let Some(what) = switched("trusted", before.trusted, after.trusted) {
        changes.push(match after.trusted {
            false => allowed(name, what),
            true => breaking(
                name,
                what,
                "readers that rely on values being of this host would take strangers'",
                "keep trusted = false; add a trusted field under another name".into(),
            ),
        });
    }
    let varies = |field: &SchemaField| match field.varies_per_packet {
        true => "packet",
        false => "flow",
    };
    let passing = |drop| if drop { "drop" } else { "keep" };
    let harmless = [
        (old.doc != new.doc).then(|| "doc changed".to_owned()),
        switched("hot", before.hot, after.hot),
        switched("present", old.present, new.present),
        switched("varies", varies(old), varies(new)),
        switched("gro", gro(before.gro), gro(after.gro)),
        switched(
            "clone",
            passing(before.drop_on_clone),
            passing(after.drop_on_clone),
        ),
        switched(
            "netns",
            passing(before.drop_on_netns),
            passing(after.drop_on_netns),
        ),
    ];
    changes.extend(
        harmless
            .into_iter()
            .flatten()
            .map(|what| allowed(name, what)),
    );
    changes
}

fn value_name_changes(old: &SchemaField, new: &SchemaField) -> Vec<Change> {
    let field = old.wanted.name;
    let lost = old.names.iter().filter_map(|(name, number)| {
        let what = match (new.names.number(name), new.names.name(number)) {
            (Some(same), _) if same == number => return None,
            (Some(other), _) => format!("value {name}: {number} -> {other}"),
            (None, Some(other)) => format!("value {name} = {number} is called {other}"),
            (None, None) => format!("value {name} = {number} removed"),
        };
        let reason = "records and programs have the old meaning of these values";
        let remedy = format!("keep {name} = {number}; give a new meaning a new number");
        Some(breaking(field, what, reason, remedy))
    });
    let added = new.names.iter().filter(|(name, number)| {
        old.names.number(name).is_none() && old.names.name(*number).is_none()
    });
    let added =
        added.map(|(name, number)| allowed(field, format!("value {name} = {number} added")));
    lost.chain(added).collect()
}

fn writer_changes(old: &SchemaField, new: &SchemaField) -> Vec<Change> {
    let (before, after) = (old.wanted.policy.writers, new.wanted.policy.writers);
    let writers = [
        ("xdp", before.xdp, after.xdp),
        ("tc", before.tc, after.tc),
        ("app", before.app, after.app),
    ];
    let changed = writers
        .into_iter()
        .filter(|(_, before, after)| before != after);
    let change = |(writer, _, may)| match may {
        true => allowed(old.wanted.name, format!("writer {writer} added")),
        false => breaking(
            old.wanted.name,
            format!("writer {writer} removed"),
            "what writes the field there is refused",
            format!("keep {writer:?} in `writers`"),
        ),
    };
    changed.map(change).collect()
}

fn allowed(field: impl Into<Option<FieldName>>, what: impl Into<String>) -> Change {
    Change {
        field: field.into(),
        what: what.into(),
        breaking: None,
    }
}

fn breaking(
    field: impl Into<Option<FieldName>>,
    what: impl Into<String>,
    reason: &'static str,
    remedy: String,
) -> Change {
    Change {
        breaking: Some(Breaking { reason, remedy }),
        ..allowed(field, what)
    }
}

fn switched<T: PartialEq + Display>(key: &str, old: T, new: T) -> Option<String> {
    (old != new).then(|| format!("{key}: {old} -> {new}"))
}

fn gro(merge: GroMerge) -> &'static str {
    match merge {
        GroMerge::Block => "block",
        GroMerge::First => "first",
        GroMerge::Last => "last",
        GroMerge::Sum => "sum",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
owner = "edge"
retired = ["shard"]
[[field]]
name = "tenant"
type = "bytes[..8]"
wire = true
writers = ["xdp", "tc"]
[[field]]
name = "verdict"
type = "enum8"
names = { pass = 0, log = 7 }
[[field]]
name = "seen"
type = "bits16"
names = { internal = 0 }
trusted = true
"#;

    /// The changes if `from` in [`OLD`] is replaced; breaking ones are marked.
    fn changes(from: &str, to: &str) -> Vec<String> {
        assert!(OLD.contains(from), "{from}");
        let old = Schema::parse("old.toml", OLD).unwrap();
        let new = Schema::parse("new.toml", &OLD.replacen(from, to, 1)).unwrap();
        let changes = new.changes_since(&old).into_iter();
        let line = |change: Change| {
            let mark = if change.breaking.is_some() { "! " } else { "" };
            let field = change
                .field
                .map_or(String::new(), |field| field.to_string());
            format!("{mark}{field} {}", change.what)
        };
        changes.map(line).collect()
    }

    #[test]
    fn a_version_without_changes_has_none() {
        assert_eq!(changes("", ""), [] as [&str; 0]);
    }

    #[test]
    fn what_old_programs_can_live_with_is_allowed() {
        for (from, to, what) in [
            (
                "[[field]]",
                "[[field]]\nname = \"zone\"\ntype = \"u16\"\n[[field]]",
                "zone added, u16",
            ),
            (
                "log = 7",
                "log = 7, drop = 8",
                "verdict value drop = 8 added",
            ),
            (
                "internal = 0",
                "internal = 0, wan = 1",
                "seen value wan = 1 added",
            ),
            ("\"tc\"]", "\"tc\", \"app\"]", "tenant writer app added"),
            ("trusted = true", "", "seen trusted: true -> false"),
            (
                "trusted = true",
                "trusted = true\nwire = true",
                "seen wire: false -> true",
            ),
            ("trusted", "doc = \"x\"\ntrusted", "seen doc changed"),
            ("trusted", "hot = true\ntrusted", "seen hot: false -> true"),
            (
                "trusted",
                "present = 0.5\ntrusted",
                "seen present: 1 -> 0.5",
            ),
            (
                "trusted",
                "varies = \"packet\"\ntrusted",
                "seen varies: flow -> packet",
            ),
            (
                "trusted",
                "gro = \"sum\"\ntrusted",
                "seen gro: block -> sum",
            ),
            (
                "trusted",
                "clone = \"drop\"\ntrusted",
                "seen clone: keep -> drop",
            ),
            (
                "trusted",
                "netns = \"drop\"\ntrusted",
                "seen netns: keep -> drop",
            ),
            ("owner", "doc = \"x\"\nowner", " doc changed"),
            ("[\"shard\"]", "[\"shard\", \"rack\"]", "rack retired"),
        ] {
            assert_eq!(changes(from, to), [what]);
        }
    }

    #[test]
    fn what_old_programs_cannot_live_with_is_breaking() {
        for (from, to, what) in [
            ("bytes[..8]", "u64", "! tenant type: bytes[..8] -> u64"),
            (
                "bytes[..8]",
                "bytes[..9]",
                "! tenant type: bytes[..8] -> bytes[..9]",
            ),
            ("enum8", "enum16", "! verdict type: enum8 -> enum16"),
            ("[\"shard\"]", "[]", "! shard taken out of `retired`"),
            ("log = 7", "", "! verdict value log = 7 removed"),
            ("log = 7", "log = 8", "! verdict value log: 7 -> 8"),
            (
                "log = 7",
                "trace = 7",
                "! verdict value log = 7 is called trace",
            ),
            ("\"xdp\", ", "", "! tenant writer xdp removed"),
            ("wire = true", "", "! tenant wire: true -> false"),
            (
                "bits16\"",
                "bits16\"\nwire = true",
                "seen wire: false -> true",
            ),
            (
                "enum8\"",
                "enum8\"\ntrusted = true",
                "! verdict trusted: false -> true",
            ),
            ("\"edge\"", "\"core\"", "! owner: edge -> core"),
        ] {
            let found = changes(from, to);
            let found: Vec<_> = found.iter().map(|line| line.replace("  ", " ")).collect();
            assert_eq!(found, [what]);
        }
    }

    #[test]
    fn names_that_change_places_are_both_renumbered() {
        let found = changes("pass = 0, log = 7", "pass = 7, log = 0");
        let both = [
            "! verdict value pass: 0 -> 7",
            "! verdict value log: 7 -> 0",
        ];
        assert_eq!(found, both);
    }

    #[test]
    fn a_removed_field_must_be_retired_and_stay_so() {
        let field = "[[field]]\nname = \"seen\"\ntype = \"bits16\"\n\
                     names = { internal = 0 }\ntrusted = true\n";
        assert_eq!(changes(field, ""), ["! seen removed, but not retired"]);
        let schema = |text: &str| Schema::parse("edge.toml", text).unwrap();
        let without = OLD.replace(field, "");
        let retired = schema(&without.replace("[\"shard\"]", "[\"shard\", \"seen\"]"));
        let [removed] = &retired.changes_since(&schema(OLD))[..] else {
            panic!("one change")
        };
        assert_eq!(removed.what, "removed, and retired");
        assert_eq!(removed.breaking, None);
        let [back] = &schema(OLD).changes_since(&retired)[..] else {
            panic!("one change")
        };
        assert_eq!(back.what, "brought back, though it was retired");
        assert!(
            back.breaking
                .as_ref()
                .unwrap()
                .remedy
                .contains("another name")
        );
    }

    #[test]
    fn beside_another_type_other_changes_are_reported_but_those_of_value_names() {
        let found = changes(
            "\"bits16\"\nnames = { internal = 0 }\ntrusted = true",
            "\"u16\"\nwire = true\ntrusted = true",
        );
        assert_eq!(
            found,
            ["! seen type: bits16 -> u16", "seen wire: false -> true"]
        );
    }
}
