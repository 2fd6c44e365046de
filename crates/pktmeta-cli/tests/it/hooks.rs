//! What the documents say of each hook.

use crate::{
    bind::run,
    command::{Ran, Run, Scratch},
    loaders::{COMPILE, REPOSITORY, headers, shell},
};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_testkit::{
    netns::Netns,
    sandbox::{in_sandbox, in_sandbox_for},
};
use std::{fs, path::Path, time::Duration};

/// A row of the table in docs/hooks.md.
#[derive(Debug)]
struct Row<'a> {
    section: &'a str,
    context: &'a str,
    gets: bool,
    sets: bool,
    bpftool: bool,
    example: &'a str,
}

impl<'a> Row<'a> {
    fn all() -> Vec<Row<'static>> {
        let page = include_str!("../../../../docs/hooks.md");
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let rows: Vec<_> = rows.skip(1).map(Row::parse).collect();
        assert!(rows.len() > 10, "{rows:#?}");
        rows
    }

    fn parse(line: &'a str) -> Self {
        let cells: Vec<_> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [_, section, context, gets, sets, _, bpftool, example] = cells[..] else {
            panic!("{line}: {cells:?}");
        };
        let says = |cell| match cell {
            "yes" => true,
            "no" => false,
            other => panic!("{line}: {other}"),
        };
        Self {
            section,
            context,
            gets: says(gets),
            sets: says(sets),
            bpftool: says(bpftool),
            example,
        }
    }

    /// A program of its own that makes calls.
    fn calls(&self, scratch: &Scratch, calls: &str) -> Ran {
        let Self {
            section, context, ..
        } = self;
        let source = format!(
            "#include <pktmeta/pktmeta.bpf.h>\nPKTMETA_FIELD(tenant, __u32);\n__u32 value;\n\
             SEC(\"{section}\") int it(struct {context} *ctx)\n{{\n\t__u32 v = 0;\n\n\
             \tvalue = {calls} + v;\n\treturn 1;\n}}\n\
             char LICENSE[] SEC(\"license\") = \"GPL\";\n"
        );
        scratch.file("it.bpf.c", source);
        let command = format!("{COMPILE} -Wall -Werror -c it.bpf.c -o it.o");
        shell(scratch.path(), &command)
    }
}

/// Binds an object of the folder, and loads it as this crate's users do.
fn load(scratch: &Scratch) -> Result<Object, String> {
    let object = scratch.path().join("it.o");
    let elf = fs::read(&object).unwrap();
    let registry = pktmeta_bpf::HostRegistry::new(Path::new("/sys/fs/bpf"))
        .read()
        .unwrap();
    let options = ObjectOptions {
        registry: Some(&registry),
        ..Default::default()
    };
    Object::load("it", &elf, &options).map_err(|error| format!("{error:#}"))
}

#[test]
fn each_hook_loads_its_example_and_can_what_the_documents_say() {
    in_sandbox_for(Duration::from_secs(600), |_| {
        let scratch = headers();
        let edge = format!("{REPOSITORY}/examples/edge.toml");
        run(&["registry", "register", &edge]).succeeds();
        for (number, row) in Row::all().into_iter().enumerate() {
            let example = format!("{REPOSITORY}/examples/bpf/{}.bpf.c", row.example);
            let text = fs::read_to_string(&example).unwrap();
            let family = row.section.split(['/', '_']).next().unwrap();
            assert!(text.contains(&format!("SEC(\"{family}")), "{row:?}");
            let script = format!(
                "{COMPILE} -Wall -Wextra -Werror -c {example} -o it.o\n\
                 pktmeta bind it.o -o bound.o"
            );
            shell(scratch.path(), &script).succeeds();
            load(&scratch).unwrap_or_else(|why| panic!("{row:?}: {why}"));
            let bpftool = format!("bpftool prog loadall bound.o /sys/fs/bpf/hook{number}");
            let loaded = shell(scratch.path(), &bpftool).code == Some(0);
            assert_eq!(loaded, row.bpftool, "{row:?}");

            let reads = "pktmeta_get(ctx, tenant, &v) + pktmeta_has_record(ctx)";
            let writes = "pktmeta_set(ctx, tenant, 7) + pktmeta_delete(ctx, tenant) + \
                          pktmeta_compact(ctx)";
            for (calls, can) in [(reads, row.gets), (writes, row.sets)] {
                let said = match row.calls(&scratch, calls) {
                    ran if ran.code != Some(0) => Err(ran.stderr),
                    _ => load(&scratch).map(drop),
                };
                match said {
                    Ok(()) => assert!(can, "{row:?} {calls}"),
                    Err(why) => {
                        assert!(!can, "{row:?} {calls}: {why}");
                        // By the compiler each call, by the loader the program.
                        let said = why.matches("cannot be changed at").count() == 3
                            || why.contains("which can only be read there");
                        assert!(said, "{row:?} {calls}: {why}");
                    }
                }
            }
        }
    });
}

#[test]
fn bind_refuses_a_flow_dissector_that_shares_an_object_with_others() {
    let scratch = headers();
    let source = "#include <pktmeta/pktmeta.bpf.h>\nPKTMETA_FIELD(tenant, __u32);\n\
         SEC(\"flow_dissector\") int one(struct __sk_buff *ctx)\n{\n\
         \treturn pktmeta_has_record(ctx);\n}\n\
         SEC(\"socket\") int other(struct __sk_buff *ctx)\n{\n\
         \treturn pktmeta_has_record(ctx);\n}\n\
         char LICENSE[] SEC(\"license\") = \"GPL\";\n";
    scratch.file("it.bpf.c", source);
    shell(scratch.path(), &format!("{COMPILE} -c it.bpf.c -o it.o")).succeeds();
    in_sandbox(|_| {
        let netns = Netns::current().unwrap();
        let object = scratch.path().join("it.o");
        let object = object.to_str().unwrap();
        let edge = format!("{REPOSITORY}/examples/edge.toml");
        let bind = ["bind", object, "-o", object, "--schema", &edge];
        let said = crate::command::pktmeta(&netns, &bind).ran();
        said.fails(&["flow_dissector and socket", "an object of its own"]);
    });
}
