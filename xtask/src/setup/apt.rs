//! Debian's packages.

use std::process::Command;

use crate::error::{Error, Result};
use crate::tool;

/// Whether this process may install packages, and why not.
pub(super) fn usable() -> std::result::Result<(), &'static str> {
    if !tool::succeeds(Command::new("apt-get").arg("--version")) {
        Err("there is no apt-get here")
    } else if !tool::is_root() {
        Err("only root may install packages")
    } else {
        Ok(())
    }
}

/// Fetches the lists of packages: a new machine has none.
pub(super) fn update() -> Result {
    tool::run(apt_get().arg("update")).map_err(|error| reachable(&error))
}

/// Whether the lists have a package.
pub(super) fn knows(package: &str) -> bool {
    tool::succeeds(Command::new("apt-cache").args(["show", package]))
}

pub(super) fn install(packages: &[&str]) -> Result {
    eprintln!("installing with apt-get: {}", packages.join(" "));
    tool::run(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
    .map_err(|error| reachable(&error))
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    // New machines update themselves at first: wait for that.
    apt.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"])
        // Without a terminal of its own dpkg does not draw progress.
        .args(["--option", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn reachable(error: &Error) -> Error {
    Error::new(format!(
        "{error}\nIts own message is above. It has to reach a Debian mirror, and no other package \
         manager may be running."
    ))
}
