//! Mutants of Rust, made by cargo-mutants.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::limit::test_limit;
use super::score::Score;
use super::survivors::Survivors;
use crate::error::{Error, Result};
use crate::tool;

/// The version whose output this file reads.
const CARGO_MUTANTS: &str = "27.1.0";

/// The share of mutants that the tests have to catch, in percent.
const WANTED: usize = 95;

/// Mutants, and the tests that have to notice them.
struct Group {
    name: &'static str,
    /// Which files are mutated, for cargo-mutants.
    mutated: &'static [&'static str],
    /// Whose tests are run.
    tested: &'static [&'static str],
    /// Which of those, for `cargo test`: not the examples in documentation, slow to build.
    tests: &'static [&'static str],
}

/// Each crate is tested by its own tests, but for what only a kernel's datapath answers.
const GROUPS: [Group; 4] = [
    Group {
        name: "core",
        mutated: &["--package", "pktmeta-core"],
        tested: &["pktmeta-core"],
        tests: &["--lib", "--tests"],
    },
    Group {
        name: "codegen",
        mutated: &["--package", "pktmeta-codegen"],
        tested: &["pktmeta-codegen"],
        tests: &["--lib", "--tests"],
    },
    Group {
        name: "pktmeta",
        mutated: &["--package", "pktmeta", "--exclude", "**/src/host/**"],
        tested: &["pktmeta"],
        tests: &["--lib", "--tests"],
    },
    Group {
        name: "host",
        mutated: &["--package", "pktmeta", "--file", "**/src/host/**"],
        tested: &["pktmeta", "pktmeta-bpf"],
        tests: HOST_TESTS,
    },
];

const HOST_TESTS: &[&str] = &[
    "--lib",
    "--test=sockets",
    "--",
    "host::",
    "history::",
    "mapped::",
    "options::",
    "receive::",
    "ring::",
    "send::",
    "without::",
];

/// Of cargo-mutants, for all groups.
const OPTIONS: [&str; 4] = [
    "--all-features",
    "--no-shuffle",
    "--colors=never",
    // Its own run without a mutant leaves out the tests of other crates than the mutated one.
    "--baseline=skip",
];

/// Of every build.
const CONFIG: [&str; 2] = [
    // What does not change is built once, and run for each mutant.
    "--config=profile.dev.package.'*'.opt-level=1",
    // Nobody debugs a mutant, and linking is half of the build.
    "--config=profile.dev.debug=0",
];

/// Runs cargo-mutants for the group that the first argument names, or for each; the other
/// arguments are added to its own: `--sharding round-robin --shard 0/10` is a tenth of each file.
pub(super) fn run(arguments: &[OsString]) -> Result<Score> {
    let named = arguments
        .split_first()
        .and_then(|(first, rest)| Some((GROUPS.iter().position(|it| *first == *it.name)?, rest)));
    let (groups, arguments) = match named {
        Some((at, rest)) => (&GROUPS[at..=at], rest),
        None => (&GROUPS[..], arguments),
    };
    let survivors = Survivors::read()?;
    install()?;
    let mut score = Score::new(WANTED);
    for group in groups {
        group.run(arguments, &survivors, &mut score)?;
    }
    if score.tried() == 0 {
        return Err(Error::new(
            "cargo-mutants tried no mutant: it says above why",
        ));
    }
    Ok(score)
}

impl Group {
    fn run(&self, arguments: &[OsString], survivors: &Survivors, score: &mut Score) -> Result {
        let output = folder().join(self.name);
        fs::create_dir_all(&output)
            .map_err(|error| Error::new(format!("cannot make {}: {error}", output.display())))?;
        let limit = test_limit(self.try_without_mutant()?);
        let mut cargo = tool::cargo_in_workspace();
        cargo
            .arg("mutants")
            .args(OPTIONS)
            .args(CONFIG.map(|option| format!("--cargo-arg={option}")))
            .arg(format!("--timeout={}", limit.as_secs()))
            .arg("--output")
            .arg(&output)
            .args(self.mutated)
            .args(
                self.tested
                    .iter()
                    .map(|package| format!("--test-package={package}")),
            )
            .args(arguments)
            .arg("--")
            .args(self.tests)
            .env("CARGO_TARGET_DIR", folder().join("rust"));
        // It fails if a mutant survives: the lists that it writes say so, and more.
        tool::status(&mut cargo)?;
        let lists = output.join("mutants.out");
        score.caught += list(&lists, "caught.txt")?.len();
        score.timed_out += list(&lists, "timeout.txt")?.len();
        score.unviable += list(&lists, "unviable.txt")?.len();
        for mutant in list(&lists, "missed.txt")? {
            if survivors.explain(&mutant) {
                score.explained += 1;
            } else {
                score.unexplained.push(mutant);
            }
        }
        Ok(())
    }

    /// Builds the tests and runs them: how long they take. They have to pass, or they would notice
    /// everything.
    fn try_without_mutant(&self) -> Result<Duration> {
        let test = |options: &[&str]| {
            let mut cargo = tool::cargo_in_workspace();
            cargo
                .args(["test", "--quiet", "--all-features"])
                .args(CONFIG)
                .args(
                    self.tested
                        .iter()
                        .map(|package| format!("--package={package}")),
                )
                .args(options)
                .args(self.tests)
                .env("CARGO_TARGET_DIR", folder().join("rust"));
            tool::run(&mut cargo)
        };
        eprintln!("{}: the tests without a mutant", self.name);
        test(&["--no-run"])?;
        let started = Instant::now();
        test(&[])?;
        Ok(started.elapsed())
    }
}

fn folder() -> PathBuf {
    tool::root().join("target/mutants")
}

fn install() -> Result {
    if tool::succeeds(tool::cargo_in_workspace().args(["mutants", "--version"])) {
        return Ok(());
    }
    eprintln!("installing with cargo: cargo-mutants {CARGO_MUTANTS} (takes minutes)");
    let install = [
        "install",
        "--debug",
        "--locked",
        "cargo-mutants",
        "--version",
    ];
    tool::run(tool::cargo_in_workspace().args(install).arg(CARGO_MUTANTS))
}

/// The lines of one of cargo-mutants' lists, which it makes when it starts.
fn list(folder: &Path, name: &str) -> Result<Vec<String>> {
    let path = folder.join(name);
    let text = fs::read_to_string(&path)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(text.lines().map(ToString::to_string).collect())
}
