//! The hooks: a folder each, with its BPF program and its [`Hook`].

pub mod cgroup_skb_ingress;
pub mod getsockopt;
pub mod iter;
pub mod setsockopt;
pub mod sockops;
pub mod tc_ingress;
pub mod watch;
pub mod xdp;

use crate::hook::{Hook, Target};

/// All hooks: first those that a packet meets, in order, then those of applications' calls.
pub const ALL: &[&Hook] = &[
    &xdp::HOOK,
    &tc_ingress::HOOK,
    &cgroup_skb_ingress::HOOK,
    &sockops::HOOK,
    &getsockopt::HOOK,
    &setsockopt::HOOK,
    &watch::HOOK,
    &iter::HOOK,
];

/// Those that come up with a target, in the same order.
pub fn of(target: Target) -> impl DoubleEndedIterator<Item = &'static Hook> + Clone {
    ALL.iter()
        .copied()
        .filter(move |hook| hook.target == target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bind::Image, stores, structures};
    use pktmeta_core::{builtin, schema::Schema};
    use std::{collections::BTreeSet, fs, path::PathBuf};

    #[test]
    fn a_hook_names_each_store_that_is_in_its_object_and_no_other() {
        for hook in ALL {
            let image = Image::parse(hook.name, hook.object.into()).unwrap();
            let maps = image.maps().unwrap();
            let shared = maps.iter().filter_map(|map| stores::of_map(map));
            let shared: BTreeSet<_> = shared.map(|store| store.map).collect();
            let named: BTreeSet<_> = hook.stores.iter().map(|store| store.map).collect();
            assert_eq!(named, shared, "{hook:?}");
            let counters = hook.counters_map.into_iter();
            assert!(
                counters.clone().all(|map| maps.iter().any(|it| it == map)),
                "{hook:?}"
            );
        }
    }

    #[test]
    fn a_hook_that_comes_up_names_each_global_that_its_loader_must_set() {
        for hook in ALL.iter().filter(|hook| hook.target != Target::Command) {
            let image = Image::parse(hook.name, hook.object.into()).unwrap();
            let named: BTreeSet<_> = hook.globals.iter().map(|it| it.name.to_owned()).collect();
            assert_eq!(named, image.globals().collect(), "{hook:?}");
        }
    }

    #[test]
    fn a_hook_has_its_counters_in_the_order_of_the_program() {
        for hook in ALL {
            let Some(map) = hook.counters_map else {
                continue;
            };
            let defines = |header: &PathBuf| {
                let program = fs::read_to_string(header.with_extension("bpf.c"));
                program.is_ok_and(|text| text.contains(&format!("}} {map} SEC(\".maps\");")))
            };
            let header = headers()
                .into_iter()
                .find(defines)
                .expect("a program with the map");
            let text = fs::read_to_string(&header).unwrap();
            let structures = text.lines().filter_map(|line| line.strip_prefix("struct "));
            let mut names = structures.filter_map(|line| line.strip_suffix(" {"));
            let structure = names.find(|name| name.ends_with("_counters")).unwrap();
            let names = hook.counters.iter().map(|counter| counter.name);
            let members: Vec<_> = names.zip((0..).step_by(8)).collect();
            structures::check(
                header.to_str().unwrap(),
                structure,
                8 * members.len(),
                &members,
            );
        }
    }

    /// `HOOK/HOOK.h` of each hook.
    fn headers() -> Vec<PathBuf> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/hooks");
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|hook| hook.join(hook.file_name().unwrap()).with_extension("h"))
            .collect()
    }

    #[test]
    fn a_hook_may_write_what_it_produces_and_every_built_in_field_has_a_hook() {
        let schema = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
        let mut produced = Vec::new();
        for hook in ALL {
            for name in hook.produces {
                let fields = schema.fields().iter();
                let field = fields
                    .map(|field| field.wanted)
                    .find(|it| it.name.as_str() == *name);
                let policy = field.expect("a built-in field").policy;
                assert!(
                    hook.writer.is_some_and(|writer| writer.may_write(&policy)),
                    "{name}"
                );
                produced.push(*name);
            }
        }
        produced.sort_unstable();
        let mut names = builtin::NAMES;
        names.sort_unstable();
        assert_eq!(produced, names);
    }
}
