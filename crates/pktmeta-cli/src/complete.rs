//! Completion in a shell: the shell asks this command for words.

use anyhow::Context;
use clap::Command;
use clap_complete::{CompleteEnv, CompletionCandidate, Shell, env::Shells};
use pktmeta_bpf::HostRegistry;
use pktmeta_core::{pins, printable};
use std::{fs, path::Path};

/// The environment variable by which the shell asks.
const ASKS: &str = "PKTMETA_COMPLETE";

/// Answers, and ends, if it is a shell that started this command to ask.
pub(crate) fn answer(command: impl Fn() -> Command) {
    CompleteEnv::with_factory(command).var(ASKS).complete();
}

/// The script that makes a shell ask.
pub(crate) fn script(shell: Shell) -> anyhow::Result<String> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.with_context(|| format!("complete in {shell}"))?;
    let mut script = Vec::new();
    completer.write_registration(ASKS, "pktmeta", "pktmeta", "pktmeta", &mut script)?;
    Ok(String::from_utf8(script)?)
}

/// The interfaces of this network namespace.
pub(crate) fn interfaces() -> Vec<CompletionCandidate> {
    let devices = fs::read("/proc/thread-self/net/dev").unwrap_or_default();
    let devices = String::from_utf8_lossy(&devices);
    // Two lines of heading, then `  eth0: 1 2 3`; no name has a colon.
    let names = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'));
    candidates(names.map(|(name, _)| name.trim()))
}

/// The fields of this host, if this process may read them.
pub(crate) fn fields() -> Vec<CompletionCandidate> {
    let bpffs = std::env::var_os(pins::BPFFS_VARIABLE).unwrap_or_else(|| pins::BPFFS.into());
    match HostRegistry::new(Path::new(&bpffs)).read() {
        Ok(registry) => candidates(registry.fields().iter().map(|field| field.name.as_str())),
        Err(_) => Vec::new(),
    }
}

/// A shell would take apart names that are not printable.
fn candidates<'a>(names: impl Iterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    let names = names.filter(|name| name.chars().all(printable::is_printable));
    names.map(CompletionCandidate::new).collect()
}
