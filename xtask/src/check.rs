//! What must hold for every commit and is no test: a table of checks, each with what it proves.

mod c_format;
mod claims;
mod columns;
mod installed;
mod licences;
mod links;

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::{setup, tool};
use installed::{Found, Python};

/// Something that must hold.
struct Check {
    name: &'static str,
    /// In one line.
    proves: &'static str,
    run: fn() -> Result<Found>,
}

/// In the order in which they are tried: what is quick and fails often comes first.
const CHECKS: &[Check] = &[
    check("format", "rustfmt would change nothing", || {
        cargo("fmt --all --check")
    }),
    check("c-format", "clang-format would change nothing", c_format),
    check(
        "go",
        "gofmt would change nothing, and go vet finds nothing",
        go,
    ),
    check(
        "documents",
        "links lead somewhere, and tests that pages name are there",
        documents,
    ),
    check(
        "columns",
        "prose has at most 120 columns, code 100",
        columns,
    ),
    check(
        "licences",
        "each file has a licence, and its text is in LICENSES",
        licences,
    ),
    check("spelling", "codespell knows no better", spelling),
    check(
        "python",
        "ruff finds nothing in examples and generated code",
        python,
    ),
    check("lints", "clippy finds nothing", || {
        cargo("clippy --workspace --all-targets --all-features -- -D warnings")
    }),
    check(
        "circles",
        "no two files import each other, in any crate",
        || cargo("run --quiet --package circles"),
    ),
    check(
        "rustdoc",
        "the documentation builds, and its links lead somewhere",
        rustdoc,
    ),
    check(
        "features",
        "each combination of features that people choose builds",
        features,
    ),
    check(
        "dependencies",
        "licences and sources of dependencies are acceptable",
        dependencies,
    ),
    check("unused", "every dependency is used", unused),
    check(
        "packages",
        "each crate that is to be published can be packed",
        packages,
    ),
    check(
        "api",
        "the public API is what the api.txt files list, and a type that cannot grow says why",
        api,
    ),
    check(
        "oldest-rust",
        "what applications link builds with the oldest Rust",
        oldest_rust,
    ),
    check(
        "aarch64",
        "what applications link compiles for another processor",
        aarch64,
    ),
];

const fn check(name: &'static str, proves: &'static str, run: fn() -> Result<Found>) -> Check {
    Check { name, proves, run }
}

/// Makes the checks with these names, or all. Stops at the first that does not hold; says at the
/// end which could not be made.
pub(crate) fn run(names: &[OsString]) -> Result {
    if let Some(unknown) = names
        .iter()
        .find(|name| CHECKS.iter().all(|check| check.name != *name))
    {
        let line = |check: &Check| format!("  {:12}  {}\n", check.name, check.proves);
        let known: String = CHECKS.iter().map(line).collect();
        return Err(Error::new(format!(
            "there is no check `{}`; these are:\n{}",
            unknown.display(),
            known
        )));
    }
    setup::to_check()?;
    let mut missing = String::new();
    for Check { name, proves, run } in CHECKS {
        if !names.is_empty() && names.iter().all(|wanted| wanted != name) {
            continue;
        }
        let started = Instant::now();
        eprintln!("check {name}: {proves}");
        if let Found::Missing(why) = run()? {
            missing += &format!("WARNING: NOT CHECKED: {name}, that {proves}: {why}\n");
        }
        eprintln!("check {name}: {:.0} s", started.elapsed().as_secs_f64());
    }
    if !missing.is_empty() {
        // No fault of the commit: this machine has no access.
        eprintln!("{missing}Run this again where these can be downloaded.");
    }
    Ok(())
}

fn rustdoc() -> Result<Found> {
    let mut cargo = tool::cargo_in_workspace();
    cargo.args(["doc", "--workspace", "--no-deps", "--all-features"]);
    tool::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Found::Held)
}

fn documents() -> Result<Found> {
    let tracked = tool::tracked_files()?;
    links::check(&tracked)?;
    claims::check(&tracked)?;
    Ok(Found::Held)
}

fn columns() -> Result<Found> {
    columns::check(&tool::tracked_files()?)?;
    Ok(Found::Held)
}

fn licences() -> Result<Found> {
    licences::check(&tool::tracked_files()?)?;
    Ok(Found::Held)
}

/// `.codespellrc` has the words that are ours, and the files that are not.
fn spelling() -> Result<Found> {
    installed::python(
        &Python {
            name: "codespell",
            version: "2.4.3",
        },
        &[],
    )
}

/// `ruff.toml` has the rules.
fn python() -> Result<Found> {
    let ruff = Python {
        name: "ruff",
        version: "0.17.6",
    };
    installed::python(
        &ruff,
        &["check", "--quiet", "--no-cache", "examples", "crates"],
    )
}

fn c_format() -> Result<Found> {
    c_format::check(&tool::tracked_files()?)
}

/// Not the runtime of the generator: it is a part of a file, which is among the snapshots.
fn go() -> Result<Found> {
    let tracked = tool::tracked_files()?;
    let files = tracked.iter().filter(|path| {
        path.extension().is_some_and(|kind| kind == "go") && !path.ends_with("runtime.go")
    });
    let mut gofmt = tool::in_workspace(Command::new("gofmt"));
    let listed = gofmt
        .arg("-l")
        .args(files)
        .output()
        .map_err(|error| Error::new(format!("cannot start gofmt: {error}")))?;
    let (changed, said) = (listed.stdout, listed.stderr);
    if !changed.is_empty() || !listed.status.success() {
        return Err(Error::new(format!(
            "gofmt would change these files; `gofmt -w` does:\n{}{}",
            String::from_utf8_lossy(&changed),
            String::from_utf8_lossy(&said)
        )));
    }
    let snapshots = tool::root().join("crates/pktmeta-codegen/tests/snapshots");
    let mut vet = Command::new("go");
    vet.args(["vet", "edge_fields.go", "lab_fields.go", "pktmeta.go"]);
    tool::run(vet.current_dir(snapshots).env("GOTOOLCHAIN", "local"))?;
    Ok(Found::Held)
}

/// Those of the features that people choose: none, each, and what all crates of a workspace may
/// have chosen together, which clippy sees.
fn features() -> Result<Found> {
    for combination in [
        "--package pktmeta-core",
        "--package pktmeta-core --features schema",
        "--package pktmeta",
        "--package pktmeta --features tokio",
        "--package pktmeta --features mock",
        "--package pktmeta-cli --no-default-features",
    ] {
        cargo(&format!("check --quiet {combination}"))?;
    }
    Ok(Found::Held)
}

/// Without advisories: their database is on the network and changes from day to day, so that the
/// same commit would pass today and fail tomorrow. `cargo deny check advisories` asks it.
fn dependencies() -> Result<Found> {
    installed::cargo("deny", "cargo-deny", "0.20.2")?;
    cargo("deny --log-level error check licenses bans sources")
}

fn unused() -> Result<Found> {
    installed::cargo("machete", "cargo-machete", "0.9.1")?;
    cargo("machete")
}

/// The crates that Cargo.toml lets be published, all at once: they depend on each other. What is
/// packed is built by its own tests and by those who use it here; whether it has all files, cargo
/// says.
fn packages() -> Result<Found> {
    cargo("package --quiet --workspace --no-verify --allow-dirty --exclude-lockfile")
}

fn api() -> Result<Found> {
    match installed::toolchain(PUBLIC_API_RUST) {
        Found::Held => cargo("run --quiet --package api"),
        missing => Ok(missing),
    }
}

/// The Rust whose rustdoc xtask/api reads.
const PUBLIC_API_RUST: &str = "1.95.0";

/// The `rust-version` of the workspace, which this program has too.
const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// What applications link. The rest is for people who have this repository, and may choose their
/// Rust.
const LINKED: [&str; 4] = ["pktmeta", "pktmeta-axum", "pktmeta-core", "pktmeta-quinn"];

fn oldest_rust() -> Result<Found> {
    let missing = installed::toolchain(OLDEST_RUST);
    if let Found::Missing(_) = missing {
        return Ok(missing);
    }
    let mut rustup = tool::in_workspace(Command::new("rustup"));
    rustup.args([
        "run",
        OLDEST_RUST,
        "cargo",
        "check",
        "--locked",
        "--all-features",
    ]);
    // In a folder of its own: what the usual Rust has built stays.
    rustup.args(["--target-dir", "target/oldest-rust"]);
    tool::run(rustup.args(LINKED.map(|name| format!("--package={name}"))))?;
    Ok(Found::Held)
}

/// The adapters are left out: what they adapt has C and assembly in it, which wants a compiler.
fn aarch64() -> Result<Found> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    match installed::target(TARGET) {
        Found::Held => cargo(&format!(
            "check --quiet --target {TARGET} --all-features \
             --package pktmeta --package pktmeta-core --package pktmeta-codegen"
        )),
        missing => Ok(missing),
    }
}

fn cargo(arguments: &str) -> Result<Found> {
    tool::run(tool::cargo_in_workspace().args(arguments.split_whitespace()))?;
    Ok(Found::Held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_check_is_answered_with_all_there_are() {
        let error = run(&["--fix".into()]).unwrap_err().to_string();
        assert!(error.contains("`--fix`"), "{error}");
        for check in CHECKS {
            assert!(error.contains(check.proves), "{error}");
        }
    }
}
