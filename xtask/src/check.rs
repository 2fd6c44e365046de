//! What must hold for every commit and is no test: formatting, lints, documentation, and the
//! licences and sources of the dependencies.

use crate::error::Result;
use crate::{setup, tool};

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Stops at the first thing that does not hold.
pub(crate) fn run() -> Result {
    setup::to_build()?;
    setup::components()?;
    cargo("fmt --all --check")?;
    cargo("clippy --workspace --all-targets --all-features -- -D warnings")?;
    documentation()?;
    dependencies()
}

fn documentation() -> Result {
    let mut cargo = tool::cargo_in_workspace();
    cargo.args(["doc", "--workspace", "--no-deps", "--all-features"]);
    tool::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
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

fn cargo(arguments: &str) -> Result {
    tool::run(tool::cargo_in_workspace().args(arguments.split(' ')))
}
