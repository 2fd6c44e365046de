//! Running other programs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::error::{Error, Result};

/// The folder of the workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub(crate) fn root() -> &'static Path {
    Path::new(ROOT)
}

/// The cargo that runs this program, in the folder where the user is.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // Of this program: cargo-machete would take it for a sign that cargo did not start it.
    cargo.env_remove("CARGO_PKG_NAME");
    cargo
}

/// The same in the folder of the workspace.
pub(crate) fn cargo_in_workspace() -> Command {
    in_workspace(cargo())
}

pub(crate) fn in_workspace(mut command: Command) -> Command {
    command.current_dir(ROOT);
    command
}

/// Runs a command whose output is for people: all of it goes to stderr.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = status(command)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!("`{}` failed: {status}", shown(command))))
    }
}

/// The same of one that may fail.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| Error::new(format!("cannot start `{}`: {error}", shown(command))))
}

/// Whether a command can be started and is content. What it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The files of the workspace that are in the working tree and that git does not ignore.
pub(crate) fn tracked_files() -> Result<Vec<PathBuf>> {
    let mut git = in_workspace(Command::new("git"));
    let listed = git
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|error| Error::new(format!("cannot start git: {error}")))?;
    let paths = listed.stdout.split(|byte| *byte == 0);
    Ok(paths
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()))
        .filter(|path| root().join(path).is_file())
        .collect())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// As one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut line = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
