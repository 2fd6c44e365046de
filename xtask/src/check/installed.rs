//! Tools that checks need, each in one version, so that a commit passes tomorrow if it passes
//! today.

use std::process::Command;

use crate::error::Result;
use crate::tool;

/// What a check found.
pub(super) enum Found {
    /// That what it proves holds.
    Held,
    /// That it could not look: what it needs is not there, and cannot be had. Why.
    Missing(String),
}

/// A program from the Python Package Index.
pub(super) struct Python {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// Where programs from the Python Package Index are.
const VENV: &str = "target/tools";

/// Runs one of Python's programs, in the folder of the workspace.
pub(super) fn python(wanted: &Python, arguments: &[&str]) -> Result<Found> {
    let Python { name, version } = wanted;
    let bin = tool::root().join(VENV).join("bin");
    let program = bin.join(name);
    let installed = Command::new(&program).arg("--version").output();
    let is_wanted = installed.is_ok_and(|said| {
        let said = String::from_utf8_lossy(&said.stdout);
        said.split_whitespace().any(|word| word == *version)
    });
    if !is_wanted {
        eprintln!("installing with pip: {name} {version}");
        let mut venv = tool::in_workspace(Command::new("python3"));
        tool::run(venv.args(["-m", "venv", VENV]))?;
        let mut pip = Command::new(bin.join("pip"));
        let package = format!("{name}=={version}");
        let quiet = ["install", "--quiet", "--disable-pip-version-check"];
        if let Err(error) = tool::run(pip.args(quiet).arg(package)) {
            return Ok(Found::Missing(error.to_string()));
        }
    }
    tool::run(tool::in_workspace(Command::new(program)).args(arguments))?;
    Ok(Found::Held)
}

/// Installs one of cargo's commands, if it is not there.
pub(super) fn cargo(command: &str, package: &str, version: &str) -> Result {
    if tool::succeeds(tool::cargo_in_workspace().args([command, "--version"])) {
        return Ok(());
    }
    eprintln!("installing with cargo: {package} {version}");
    let mut cargo = tool::cargo_in_workspace();
    // Not optimized: it runs for a second, and is built in a third of the time.
    tool::run(cargo.args([
        "install",
        "--debug",
        "--locked",
        package,
        "--version",
        version,
    ]))
}

/// Looks for a Rust, and installs it.
pub(super) fn toolchain(version: &str) -> Found {
    let mut cargo = Command::new("rustup");
    if tool::succeeds(cargo.args(["run", version, "cargo", "--version"])) {
        return Found::Held;
    }
    eprintln!("installing with rustup: Rust {version}");
    rustup(&[
        "toolchain",
        "install",
        "--no-self-update",
        "--profile",
        "minimal",
        version,
    ])
}

/// Looks for the standard library of another processor, and installs it.
pub(super) fn target(name: &str) -> Found {
    rustup(&["target", "add", name])
}

fn rustup(arguments: &[&str]) -> Found {
    let mut rustup = tool::in_workspace(Command::new("rustup"));
    match tool::run(rustup.args(arguments)) {
        Ok(()) => Found::Held,
        Err(error) => Found::Missing(error.to_string()),
    }
}
