//! What must hold for every commit and is no test: formatting, lints, documentation with its links,
//! its width and the tests that it names, the licences and sources of the dependencies, and the
//! Rust that applications need.

mod claims;
mod links;
mod prose;

use std::process::Command;

use crate::error::Result;
use crate::{setup, tool};

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// The `rust-version` of the workspace, which this program has too.
const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Stops at the first thing that does not hold.
pub(crate) fn run() -> Result {
    setup::to_build()?;
    setup::components()?;
    cargo("fmt --all --check")?;
    cargo("clippy --workspace --all-targets --all-features -- -D warnings")?;
    documentation()?;
    documents()?;
    dependencies()?;
    // Last, so that nobody misses that it could not be checked.
    oldest_rust()
}

fn documentation() -> Result {
    let mut cargo = tool::cargo_in_workspace();
    cargo.args(["doc", "--workspace", "--no-deps", "--all-features"]);
    tool::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn documents() -> Result {
    let tracked = tool::tracked_files()?;
    links::check(&tracked)?;
    prose::check(&tracked)?;
    claims::check(&tracked)
}

/// Without advisories: their database is on the network and changes from day to day, so that the
/// same commit would pass today and fail tomorrow. `cargo deny check advisories` asks it.
fn dependencies() -> Result {
    if !tool::succeeds(tool::cargo_in_workspace().args(["deny", "--version"])) {
        eprintln!("installing with cargo: cargo-deny {CARGO_DENY} (takes minutes)");
        // Not optimized: it runs for a second, and is built in a third of the time.
        let version = format!("--version {CARGO_DENY}");
        cargo(&format!("install --debug --locked cargo-deny {version}"))?;
    }
    cargo("deny check licenses bans sources")
}

/// What applications link builds with the oldest Rust that it is said to build with. The rest is
/// for people who have this repository, and may choose their Rust.
fn oldest_rust() -> Result {
    let cargo = format!("run {OLDEST_RUST} cargo");
    if !tool::succeeds(&mut rustup(&format!("{cargo} --version"))) {
        eprintln!("installing with rustup: Rust {OLDEST_RUST}");
        let install = format!("toolchain install --no-self-update --profile minimal {OLDEST_RUST}");
        if let Err(error) = tool::run(&mut rustup(&install)) {
            // No fault of the commit: this machine has no access, or its Rust is not rustup's.
            eprintln!(
                "WARNING: NOT CHECKED whether what applications link builds with Rust \
                 {OLDEST_RUST}, as Cargo.toml says: {error}\n\
                 Run this again where rustup has that Rust or can download it."
            );
            return Ok(());
        }
    }
    // In a folder of its own: what the usual Rust has built stays.
    let check = "check --locked --target-dir target/oldest-rust";
    let linked = "--package pktmeta --package pktmeta-axum --package pktmeta-core --package pktmeta-quinn --all-features";
    tool::run(&mut rustup(&format!("{cargo} {check} {linked}")))
}

fn rustup(arguments: &str) -> Command {
    let mut rustup = tool::in_workspace(Command::new("rustup"));
    rustup.args(arguments.split(' '));
    rustup
}

fn cargo(arguments: &str) -> Result {
    tool::run(tool::cargo_in_workspace().args(arguments.split(' ')))
}
