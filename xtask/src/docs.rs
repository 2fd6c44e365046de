//! Every command of the pages, in a Debian 12 that has nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::{setup, tool};

/// The tests that run the pages, and which of them is the page that says what to install.
const PAGES: &str = "pages::every_command_";
const README: &str = "pages::every_command_of_the_readme_runs_as_printed";

/// Runs README, then everything else where README's commands were run. Their output is that of the
/// tests: the pages' commands say little unless they fail.
pub(crate) fn run() -> Result {
    setup::to_bootstrap()?;
    let bare = tool::root().join("target/bare");
    make(&bare)?;
    // In the bare root cargo has no network.
    tool::run(tool::cargo_in_workspace().args(["fetch", "--locked"]))?;
    pages(&bare, &[README, "--exact"])?;
    pages(&bare, &[PAGES, "--skip", README])
}

fn pages(bare: &Path, which: &[&str]) -> Result {
    let mut tests = tool::cargo_in_workspace();
    tests.args(["test", "--package", "pktmeta-cli", "--test", "it", "--"]);
    tests.args(which).arg("--nocapture");
    tests.env("PKTMETA_BARE", bare);
    // Whose network is not the sandbox's.
    tests.env("PKTMETA_OUTSIDE", std::process::id().to_string());
    tool::run(&mut tests)
}

/// A Debian with its essential packages and apt-get, unless there is one from before.
fn make(bare: &Path) -> Result {
    let root = bare.join("root");
    if root.exists() {
        return Ok(());
    }
    let unfinished = bare.join("unfinished");
    let failed = |error| Error::new(format!("cannot prepare {}: {error}", bare.display()));
    fs::create_dir_all(bare).map_err(failed)?;
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed)?;
    }
    eprintln!("making a bare Debian 12 in {}", root.display());
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--variant=minbase", "bookworm"]);
    tool::run(mmdebstrap.arg(&unfinished))?;
    fs::rename(&unfinished, &root).map_err(failed)
}
