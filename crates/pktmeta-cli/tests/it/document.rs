//! `docs/schema.md`: its tables are what the code does. `docs/command-line.md`: all of it is what
//! the command says.

use crate::command::{PKTMETA, Run};
use pktmeta_core::Kind;
use std::{fmt::Write as _, fs, path::Path, process::Command};

const DOCUMENT: &str = include_str!("../../../../docs/schema.md");
const EVOLUTION: &str = include_str!("../../../pktmeta-core/src/schema/evolution.rs");

#[test]
fn the_rules_of_evolution_are_those_of_the_code() {
    let rules = EVOLUTION
        .lines()
        .filter_map(|line| line.strip_prefix("//! |"))
        .map(|row| format!("|{row}"));
    for rule in rules {
        assert!(DOCUMENT.contains(&rule), "{rule}");
    }
}

#[test]
fn every_type_of_the_document_takes_the_bytes_that_it_says() {
    let (_, types) = DOCUMENT.split_once("\n## Types\n").unwrap();
    let rows = types.lines().skip_while(|line| !line.starts_with("|---"));
    let mut seen = 0;
    for row in rows.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let sizes: Vec<_> = cells[3].split(", ").collect();
        let names = cells[1].split(", ").map(|name| name.trim_matches('`'));
        for (at, name) in names.enumerate().filter(|(_, name)| !name.contains('N')) {
            let size = sizes[at.min(sizes.len() - 1)];
            let kind: Kind = name.parse().unwrap();
            assert_eq!(kind.tlv_size().to_string(), size, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 24);
}

#[test]
fn the_reference_of_the_command_is_what_the_command_says_of_itself() {
    let page = include_str!("../../../../docs/command-line.md");
    let (introduction, _) = page.split_once("\n## ").unwrap();
    let mut says = introduction.to_owned();
    add_command(&mut says, &[]);
    if says != page {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command-line.md");
        fs::write(&file, says).unwrap();
        panic!(
            "it says something else: cp {} docs/command-line.md",
            file.display()
        );
    }
}

/// Adds the help of a command and of those below it; options that all have only for the first.
fn add_command(page: &mut String, command: &[&str]) {
    const EVERYWHERE: [&str; 2] = [
        "      --bpffs <BPFFS>\n          Where bpffs is mounted, or to be mounted\n\n          \
         [env: PKTMETA_BPFFS=]\n          [default: /sys/fs/bpf]\n\n",
        "  -h, --help\n          Print help (see a summary with '-h')\n",
    ];
    let mut pktmeta = Command::new(PKTMETA);
    pktmeta
        .args(command)
        .arg("--help")
        .env_remove("PKTMETA_BPFFS");
    let help = pktmeta.ran().succeeds();
    let lines: String = help
        .lines()
        .flat_map(|line| [line.trim_end(), "\n"])
        .collect();
    let mut own = lines.clone();
    if !command.is_empty() {
        EVERYWHERE
            .iter()
            .for_each(|option| own = own.replace(option, ""));
        own = own
            .replace("\nOptions:\n\n", "\n")
            .replace("\n\n\n", "\n\n");
    }
    let own = own.trim_end().trim_end_matches("\nOptions:").trim_end();
    let name = [&["pktmeta"], command].concat().join(" ");
    let _ = write!(page, "\n## {name}\n\n```text\n{own}\n```\n");
    let list = lines
        .split_once("\nCommands:\n")
        .map_or("", |(_, list)| list);
    for line in list.lines().take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        if name != "help" {
            add_command(page, &[command, &[name]].concat());
        }
    }
}
