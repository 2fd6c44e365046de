//! `pktmeta man`

use crate::output;
use anyhow::Context;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use pktmeta_core::pins;
use std::{fs, path::Path};

/// The exit codes of commands, by the name of the command; all commands have those without a name.
pub(crate) const EXIT_CODES: [(Option<&str>, &str, &str); 13] = [
    (None, "0", "it did what it was to do"),
    (
        None,
        "1",
        "it did not: the standard error says why, and what to do",
    ),
    (None, "2", "the arguments are wrong; nothing was done"),
    (
        None,
        "141",
        "whoever reads the output has gone; what else it was to do is done",
    ),
    (Some("status"), "3", "nothing is up"),
    (
        Some("status"),
        "4",
        "something that should be attached is not, or a command was killed before its end",
    ),
    (
        Some("check"),
        "1",
        "a change is breaking, names conflict, or the fields are past the budget",
    ),
    (
        Some("doctor"),
        "1",
        "something is missing that the datapath cannot do without",
    ),
    (Some("demo"), "1", "a record was wrong or missing"),
    (Some("where"), "1", "a value was wrong"),
    (Some("exec"), "126", "the program could not be run"),
    (
        Some("exec"),
        "127",
        "there is no such program; every other code is the program's",
    ),
    (Some("watch"), "0", "it was interrupted"),
];

/// Files that commands make or read.
fn files() -> [(String, &'static str); 4] {
    let pin = |name: &str| format!("{}/{name}", pins::BPFFS);
    [
        (
            pin(pins::REGISTRY),
            "the fields of this host and their numbers; --bpffs and PKTMETA_BPFFS name another \
             mount",
        ),
        (
            pin(pins::NAMES),
            "what the values of their enumerations and bits are called",
        ),
        (pin(pins::DATAPATH) + "/", "what is attached, and its maps"),
        (
            "/sys/kernel/btf/vmlinux".into(),
            "the kernel's types, which programs need to be loaded",
        ),
    ]
}

/// Writes the pages of a command and of those below it.
pub(crate) fn write(command: Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("make the directory {}", output::name(directory)))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_below(&command, None, directory)
}

fn write_below(command: &Command, above: Option<&str>, directory: &Path) -> anyhow::Result<()> {
    let name = match above {
        None => command.get_name().to_owned(),
        Some(above) => format!("{above}-{}", command.get_name()),
    };
    let path = directory.join(format!("{name}.1"));
    let page = page(command, &name).with_context(|| format!("make the page {name}"))?;
    fs::write(&path, page).with_context(|| format!("write {}", output::name(&path)))?;
    for below in command.get_subcommands() {
        write_below(below, Some(&name), directory)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let version = concat!("pktmeta ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(version)
        .manual("pktmeta");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    let own = |of: &Option<&str>| of.is_none_or(|of| of == command.get_name());
    let codes = EXIT_CODES.iter().filter(|(of, ..)| own(of));
    let codes = codes.map(|&(_, code, meaning)| (code, meaning));
    list("EXIT STATUS", codes).to_writer(&mut page)?;
    let files = files();
    let files = files
        .iter()
        .map(|(path, meaning)| (path.as_str(), *meaning));
    list("FILES", files).to_writer(&mut page)?;
    see_also(command, name).to_writer(&mut page)?;
    Ok(page)
}

/// A section of words and their meanings.
fn list<'a>(heading: &str, items: impl Iterator<Item = (&'a str, &'a str)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (word, meaning) in items {
        roff.control("TP", [])
            .text([roman(word)])
            .text([roman(meaning)]);
    }
    roff
}

fn see_also(command: &Command, name: &str) -> Roff {
    let below = command.get_subcommands();
    let mut pages: Vec<_> = below
        .map(|it| format!("{name}-{}(1)", it.get_name()))
        .collect();
    if name != "pktmeta" {
        pages.insert(0, "pktmeta(1)".into());
    }
    pages.extend(["bpftool(8)", "ip-link(8)", "tc(8)", "cgroups(7)"].map(String::from));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"])
        .text([roman(pages.join(", "))]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_the_codes_of_the_manual() {
        let reference = include_str!("../../../../docs/command.md");
        for (of, code, meaning) in EXIT_CODES {
            let of = of.map_or_else(|| "all".to_owned(), |of| format!("`{of}`"));
            let row = format!("| {of} | {code} | {meaning} |\n");
            assert!(reference.contains(&row), "no {row}");
        }
    }
}
