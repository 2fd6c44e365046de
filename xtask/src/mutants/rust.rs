//! Mutants of Rust, made by cargo-mutants.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::score::Score;
use super::survivors::Survivors;
use crate::error::{Error, Result};
use crate::tool;

/// The version whose output this file reads.
const CARGO_MUTANTS: &str = "27.1.0";

/// The share of mutants that the tests have to catch, in percent.
const WANTED: usize = 95;

/// The crates whose own tests are fast enough to be run for each mutant.
const PACKAGES: [&str; 3] = ["pktmeta-core", "pktmeta-codegen", "pktmeta"];

/// Runs cargo-mutants; `arguments` are added to its own, such as `--shard 0/8` for an eighth.
pub(super) fn run(arguments: &[OsString]) -> Result<Score> {
    let survivors = Survivors::read()?;
    install()?;
    let output = tool::root().join("target/mutants");
    fs::create_dir_all(&output)
        .map_err(|error| Error::new(format!("cannot make {}: {error}", output.display())))?;
    let mut cargo = tool::cargo_in_workspace();
    cargo.args(["mutants", "--all-features", "--no-shuffle", "--output"]);
    cargo.arg(&output);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    cargo.args(arguments);
    // It fails if a mutant survives: the lists that it writes say so, and more.
    let status = tool::status(&mut cargo)?;
    let lists = output.join("mutants.out");
    let mut score = Score::new(WANTED);
    score.caught = list(&lists, "caught.txt")?.len() + list(&lists, "timeout.txt")?.len();
    score.unviable = list(&lists, "unviable.txt")?.len();
    let survived = list(&lists, "missed.txt")?;
    let (explained, unexplained) = survived
        .into_iter()
        .partition::<Vec<_>, _>(|mutant| survivors.explain(mutant));
    score.explained = explained.len();
    score.unexplained = unexplained;
    if score.tried() == 0 {
        return Err(Error::new(format!(
            "cargo-mutants tried no mutant ({status}); it says above why"
        )));
    }
    Ok(score)
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
