//! `pktmeta registry`

use crate::{
    bind::{OWNERS, bpftool_load, compile, probe, probe_schema, run},
    command::{Run, Scratch, pktmeta, text},
    errors::without_root,
    lab::{Lab, SCHEMA, pins},
};
use pktmeta_testkit::{netns::Netns, sandbox::in_sandbox};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

/// What `list --json` says.
struct List(Value);

impl List {
    #[track_caller]
    fn now() -> Self {
        Self(serde_json::from_str(&run(&["registry", "list", "--json"]).succeeds()).unwrap())
    }

    /// Names and numbers.
    fn fields(&self, which: &str) -> Vec<(String, u64)> {
        let fields = self.0[which].as_array().unwrap().iter();
        let pair = |field: &Value| {
            let name = field["name"].as_str().unwrap().to_owned();
            (name, field["number"].as_u64().unwrap())
        };
        fields.map(pair).collect()
    }

    fn names(&self) -> Vec<String> {
        self.fields("fields")
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        let fields = self.fields("fields").into_iter();
        fields
            .filter(|(found, _)| found == name)
            .map(|(_, n)| n)
            .next()
            .unwrap()
    }
}

fn register(schemas: &[&str]) -> String {
    run(&[&["registry", "register"], schemas].concat()).succeeds()
}

fn remove(what: &str) -> String {
    run(&["registry", "remove", what]).succeeds()
}

#[test]
fn a_host_without_fields_says_so() {
    in_sandbox(|sandbox| {
        let said = run(&["registry", "list"]).succeeds();
        assert!(
            said.contains("no field is registered on this host"),
            "{said}"
        );
        assert_eq!(List::now().names(), [] as [&str; 0]);
        assert_eq!(
            remove("--all"),
            "no field is registered any more, and no number given away\n"
        );
        run(&["registry", "remove", "tenant"]).fails(&[
            "remove field \"tenant\"",
            "no field is registered on this host",
        ]);
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn fields_are_registered_shown_and_removed() {
    in_sandbox(|sandbox| {
        let [edge, dns] = ["edge", "dns"].map(|owner| format!("{OWNERS}/{owner}.toml"));
        let said = register(&[&edge]);
        assert!(
            said.contains("tenant  edge   u32        1      4  new\n"),
            "{said}"
        );
        let said = register(&[&edge, &dns]);
        for line in [
            "tenant  edge   u32        1      4  there\n",
            "zone    dns    u16        2         new\n",
        ] {
            assert!(said.contains(line), "no {line:?} in:\n{said}");
        }
        let said = run(&["registry", "list"]).succeeds();
        for line in [
            "NUMBER  NAME    TYPE  OWNER  POLICY           PLACE  USED BY\n",
            "     1  tenant  u32   edge   xdp writes, hot      4\n",
            "     2  zone    u16   dns    tc writes\n",
        ] {
            assert!(said.contains(line), "no {line:?} in:\n{said}");
        }
        let list = List::now().0;
        assert_eq!(list["area"], 24);
        assert_eq!(list["fields"][0]["policy"][1], "hot");
        assert_eq!(list["fields"][0]["place"], 4);
        assert_eq!(list["fields"][1]["owner"], "dns");
        assert_eq!(list["fields"][1]["size"], 2);

        let said = remove("zone");
        assert_eq!(
            said,
            "zone of dns: removed\ntheir numbers are given to no other field\n"
        );
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("1 removed: --retired shows them"), "{said}");
        assert!(!said.contains("zone"), "{said}");
        let said = run(&["registry", "list", "--retired"]).succeeds();
        assert!(said.contains("dns    removed, tc writes"), "{said}");
        let said = remove("tenant");
        assert!(said.contains("no field is registered any more"), "{said}");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn a_schema_that_changed_changes_the_policy_and_keeps_the_number() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        register(&[&format!("{OWNERS}/dns.toml")]);
        register(&[&scratch.file("lab.toml", probe_schema("u32"))]);
        let changed = probe_schema("u32") + "writers = [\"app\"]\nwire = true\n";
        let said = register(&[&scratch.file("lab.toml", changed)]);
        assert!(
            said.contains("2         there, with another policy now\n"),
            "{said}"
        );
        let list = run(&["registry", "list"]).succeeds();
        assert!(list.contains("lab    app writes, wire\n"), "{list}");
    });
}

#[test]
fn a_name_that_has_another_meaning_is_refused_with_both_and_nothing_is_registered() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        register(&[&scratch.file("lab.toml", probe_schema("u32"))]);
        let before = List::now().names();
        let dns = format!("{OWNERS}/dns.toml");
        for (owner, kind) in [("other", "u32"), ("lab", "u64")] {
            let schema = probe_schema(kind).replace("\"lab\"", &format!("\"{owner}\""));
            let schema = scratch.file("other.toml", schema);
            run(&["registry", "register", &dns, &schema]).fails(&[
                &format!("field probe: owner {owner} wants it as {kind}"),
                "owner lab has it as u32",
                "rename one of the two",
            ]);
            assert_eq!(List::now().names(), before);
        }
    });
}

#[test]
fn a_field_that_is_not_there_is_not_removed_and_the_nearest_name_is_shown() {
    in_sandbox(|_| {
        register(&[
            &format!("{OWNERS}/edge.toml"),
            &format!("{OWNERS}/dns.toml"),
        ]);
        let removal = run(&["registry", "remove", "zone", "tenent"]);
        removal.fails(&["remove field \"tenent\"", "tenant is the nearest"]);
        run(&["registry", "remove", "colour"]).fails(&["registered are tenant, zone"]);
        assert_eq!(List::now().names(), ["tenant", "zone"]);
        for arguments in [&["remove"][..], &["remove", "--all", "zone"], &["register"]] {
            let ran = run(&[&["registry"], arguments].concat());
            assert_eq!(ran.code, Some(2), "{ran:#?}");
        }
    });
}

#[test]
fn a_field_that_a_loaded_program_uses_is_not_removed_until_the_program_goes() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        run(&["bind", &object, "-o", &object, "--schema", &schema]).succeeds();
        register(&[&format!("{OWNERS}/dns.toml")]);
        bpftool_load(&object, "probe");

        let said = run(&["registry", "list"]).succeeds();
        let uses: Vec<_> = said
            .lines()
            .filter(|line| line.contains("probe_"))
            .collect();
        assert_eq!(uses.len(), 3, "{said}");
        assert!(uses[0].contains("probe  u32"), "{said}");
        let used_by = &List::now().0["fields"][0]["used_by"];
        let program = used_by[0]["program"].as_str().unwrap();
        let id = used_by[0]["id"].as_u64().unwrap();
        let by_id = format!("prog show id {id} --json");
        let shown = Command::new("bpftool")
            .args(by_id.split(' '))
            .ran()
            .succeeds();
        assert!(
            shown.contains(&format!("\"name\":\"{program}\"")),
            "{shown}"
        );

        let user = format!("BPF program {program} (id {id}) uses it");
        for what in ["probe", "--all"] {
            let removal = run(&["registry", "remove", what]);
            removal.fails(&["remove field probe", &user, "unload that first"]);
        }
        assert_eq!(List::now().names(), ["probe", "zone"]);
        // Of a field that nobody uses it is no matter.
        remove("zone");

        fs::remove_dir_all(sandbox.bpffs().join("probe")).unwrap();
        let said = remove("--all");
        assert!(said.contains("probe of lab: removed"), "{said}");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn a_number_belongs_to_one_meaning_while_the_registry_lives() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let schema = |name: &str, kind: &str| {
            let schema = probe_schema(kind).replace("probe", name);
            scratch.file("lab.toml", schema)
        };
        register(&[&schema("stays", "u8")]);
        register(&[&schema("comes_and_goes", "u32")]);
        remove("comes_and_goes");
        register(&[&schema("another", "u32")]);
        register(&[&schema("comes_and_goes", "u64")]);
        let numbers = [("another", 3), ("comes_and_goes", 4), ("stays", 1)];
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number));
        assert_eq!(List::now().fields("fields"), numbers);
        assert_eq!(
            List::now().fields("retired"),
            [("comes_and_goes".to_owned(), 2)]
        );

        remove("comes_and_goes");
        register(&[&schema("comes_and_goes", "u32")]);
        assert_eq!(
            List::now().number("comes_and_goes"),
            2,
            "it has its number back"
        );

        remove("--all");
        register(&[&schema("comes_and_goes", "u16")]);
        assert_eq!(List::now().number("comes_and_goes"), 1, "of a new registry");
        assert_eq!(List::now().fields("retired"), []);
    });
}

#[test]
fn what_is_registered_stays_when_the_datapath_goes_and_the_rest_does_not() {
    in_sandbox(|sandbox| {
        let dns = format!("{OWNERS}/dns.toml");
        let first = register(&[&dns]);
        assert!(
            first.contains("zone   dns    u16        1         new"),
            "{first}"
        );
        let lab = Lab::up(sandbox);
        let up = List::now();
        assert_eq!(up.number("zone"), 1);
        for name in ["tenant", "rx_ifindex"] {
            assert!(up.names().contains(&name.to_owned()), "{up}", up = up.0);
        }
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("until down"), "{said}");
        lab.assert_works();

        let said = lab.down();
        for line in ["the datapath is removed", "registered to stay: zone"] {
            assert!(said.contains(line), "{said}");
        }
        assert_eq!(List::now().names(), ["zone"]);
        let retired = List::now().fields("retired");
        lab.try_up(&[]).succeeds();
        let again = List::now();
        for (name, number) in retired {
            assert_eq!(again.number(&name), number, "{name}");
        }
        lab.assert_works();
        lab.down();
        remove("zone");
        lab.assert_nothing_is_left();
    });
}

#[test]
fn fields_are_registered_and_removed_while_the_datapath_is_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let said = register(&[SCHEMA]);
        assert!(said.contains("there, and stays now"), "{said}");
        let said = register(&[&format!("{OWNERS}/dns.toml")]);
        assert!(said.contains("was bound before"), "{said}");
        lab.assert_works();

        let list = List::now();
        let fields = list.0["fields"].as_array().unwrap().iter();
        let tenant = fields
            .clone()
            .find(|field| field["name"] == "tenant")
            .unwrap();
        let label = &tenant["used_by"].as_array().unwrap()[0]["label_of_ifindex"];
        assert_eq!(label, lab.ifindex());
        let label = format!("a label of `pktmeta up` on interface {}", lab.ifindex());
        run(&["registry", "remove", "tenant"]).fails(&[&label]);
        run(&["registry", "remove", "rx_ifindex"])
            .fails(&["BPF program pktmeta_xdp_lab", "pktmeta down"]);
        run(&["registry", "remove", "--all"]).fails(&["uses it"]);
        remove("zone");
        lab.assert_works();
        lab.down();
        assert_eq!(List::now().names(), ["tenant"]);
        remove("--all");
        lab.assert_nothing_is_left();
    });
}

#[test]
fn the_registry_outlives_the_datapath_for_programs_that_are_bound_to_its_fields() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let source = "#include <pktmeta/pktmeta.bpf.h>\n\
            PKTMETA_FIELD(rx_ifindex, __u32);\n\
            SEC(\"xdp\") int reads(struct xdp_md *ctx)\n\
            {\n__u32 v; return pktmeta_get(ctx, rx_ifindex, &v) ? XDP_DROP : XDP_PASS;\n}\n\
            char LICENSE[] SEC(\"license\") = \"GPL\";\n";
        let source = scratch.file("reads.bpf.c", source);
        let object = compile(&source, &scratch.path().join("reads.o"));
        let said = run(&["bind", &object, "-o", &object]).succeeds();
        assert!(said.contains("until `pktmeta down`"), "{said}");
        assert!(said.ends_with("`pktmeta up`: rx_ifindex\n"), "{said}");
        bpftool_load(&object, "reads");

        let said = lab.down();
        assert!(said.contains("pktmeta registry list --retired"), "{said}");
        let said = run(&["registry", "list", "--retired"]).succeeds();
        let line = said
            .lines()
            .find(|line| line.contains("rx_ifindex"))
            .unwrap();
        assert!(line.contains("removed, until down"), "{said}");
        assert!(line.contains(" reads (id "), "{said}");
        fs::remove_dir_all(sandbox.bpffs().join("reads")).unwrap();
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn programs_bound_to_the_registry_of_another_bpffs_use_no_field_here() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        let other = scratch.path().join("other");
        fs::create_dir(&other).unwrap();
        let other = text(other);
        let there = |arguments: &[&str]| run(&[arguments, &["--bpffs", &other]].concat());
        there(&["bind", &object, "-o", &object, "--schema", &schema]).succeeds();
        register(&[&schema]);
        bpftool_load(&object, "probe");
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("is bound to another registry"), "{said}");
        assert_eq!(List::now().0["fields"][0]["used_by"], Value::Array(vec![]));
        there(&["registry", "remove", "probe"]).fails(&["BPF program probe_"]);
        remove("probe");
    });
}

#[test]
fn owners_who_register_at_once_all_get_numbers_of_their_own() {
    in_sandbox(|sandbox| {
        const OWNERS: usize = 8;
        const FIELDS: usize = 7;
        let scratch = Scratch::new();
        let schema = |owner: usize| {
            let field = |n| format!("[[field]]\nname = \"f{owner}_{n}\"\ntype = \"u8\"\n");
            let fields: String = (0..FIELDS).map(field).collect();
            let schema = format!("owner = \"owner{owner}\"\n{fields}");
            scratch.file(&format!("{owner}.toml"), schema)
        };
        // Also while fields come and go, with whose last one the registry goes too.
        let passing = scratch.file("lab.toml", probe_schema("u8"));
        let schemas: Vec<_> = (0..OWNERS).map(schema).collect();
        std::thread::scope(|scope| {
            for schema in &schemas {
                scope.spawn(|| register(&[schema]));
            }
            for _ in 0..10 {
                run(&["registry", "register", &passing]).succeeds();
                remove("probe");
            }
        });
        let fields = List::now().fields("fields");
        let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
        let numbers: BTreeSet<_> = fields.iter().map(|(_, number)| number).collect();
        assert_eq!(
            (names.len(), numbers.len()),
            (OWNERS * FIELDS, OWNERS * FIELDS)
        );
        remove("--all");
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn a_registration_that_is_killed_anywhere_is_finished_by_the_next() {
    in_sandbox(|sandbox| {
        let [edge, dns] = ["edge", "dns"].map(|owner| format!("{OWNERS}/{owner}.toml"));
        let here = Netns::current().unwrap();
        for delay in 0..20 {
            let mut register = pktmeta(&here, &["registry", "register", &edge, &dns]).running();
            std::thread::sleep(Duration::from_micros(500 * delay));
            register.kill().unwrap();
            register.wait().unwrap();
            self::register(&[&edge, &dns]);
            let list = List::now();
            assert_eq!((list.number("tenant"), list.number("zone")), (1, 2));
            let mut remove = pktmeta(&here, &["registry", "remove", "--all"]).running();
            std::thread::sleep(Duration::from_micros(500 * delay));
            remove.kill().unwrap();
            remove.wait().unwrap();
            self::remove("--all");
            assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
        }
    });
}

#[test]
fn bpffs_is_mounted_for_the_first_field_and_nothing_is_in_it_after_the_last() {
    in_sandbox(|_| {
        let [scratch, bpffs] = [(); 2].map(|()| Scratch::new());
        let bpffs = text(bpffs.path());
        let there =
            |arguments: &[&str]| run(&[&["registry"], arguments, &["--bpffs", &bpffs]].concat());
        let is_mounted = || {
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            mounts.contains(&format!(" {bpffs} "))
        };
        let lab = scratch.file("lab.toml", probe_schema("u32"));
        let other = scratch.file("other.toml", probe_schema("u64"));
        assert!(!is_mounted());
        there(&["register", &lab, &other]).fails(&["wants it as u64"]);
        assert!(is_mounted());
        assert_eq!(pins(Path::new(&bpffs)), [] as [&Path; 0]);
        there(&["register", &lab]).succeeds();
        there(&["remove", "probe"]).succeeds();
        assert_eq!(pins(Path::new(&bpffs)), [] as [&Path; 0]);
    });
}

#[test]
fn without_capabilities_the_registry_says_which_are_missing() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        let commands: [&[&str]; 3] = [&["list"], &["register", &schema], &["remove", "--all"]];
        let object = probe(&scratch);
        let bind = ["bind", &object, "-o", "/tmp/nobodys.o"];
        let commands = commands.map(|arguments| [&["registry"], arguments].concat());
        for arguments in commands.iter().map(Vec::as_slice).chain([&bind[..]]) {
            let ran = without_root(arguments);
            ran.fails(&[
                "lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF",
                "run it as root",
            ]);
        }
    });
}
