//! Programs of the workspace that take the place of this one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use crate::error::{Error, Result};
use crate::{setup, tool};

/// Becomes the demo.
pub(crate) fn demo(arguments: &[OsString]) -> Result {
    setup::to_build()?;
    let demo = [OsString::from("demo")];
    let arguments = [&demo, arguments].concat();
    become_binary(
        &["--package", "pktmeta-cli", "--bin", "pktmeta"],
        &arguments,
    )
}

/// Becomes the benchmarks.
pub(crate) fn bench(arguments: &[OsString]) -> Result {
    setup::to_test()?;
    become_binary(&["--package", "pktmeta-benches"], arguments)
}

/// Becomes the fuzzer.
pub(crate) fn fuzz(arguments: &[OsString]) -> Result {
    setup::to_build()?;
    // Rust's own checks find what the comparison does not, at next to no cost.
    let checks = ["debug-assertions=true", "overflow-checks=true"];
    let checks = checks.map(|check| format!("--config=profile.release.{check}"));
    let [assertions, overflows] = &checks;
    become_binary(
        &["--package", "pktmeta-fuzz", assertions, overflows],
        arguments,
    )
}

/// Becomes the sender of packets over every path.
pub(crate) fn paths(arguments: &[OsString]) -> Result {
    setup::to_test()?;
    become_binary(&["--package", "pktmeta-paths"], arguments)
}

/// Becomes the reader of the public API.
pub(crate) fn api(arguments: &[OsString]) -> Result {
    become_binary(&["--package", "api"], arguments)
}

/// Becomes the finder of circles of imports.
pub(crate) fn circles() -> Result {
    become_binary(&["--package", "circles"], &[])
}

/// Builds a binary and becomes it: `cargo run` prints to stderr only, and is itself replaced by
/// what it runs. So standard output, the exit status and Ctrl-C are the binary's own, and nobody
/// is left in between who could end before it has cleaned up.
fn become_binary(which: &[&str], arguments: &[OsString]) -> Result {
    let mut command = tool::cargo();
    command
        .args(["run", "--release"])
        .args(which)
        .arg("--")
        .args(arguments);
    let refused = command.exec();
    Err(Error::new(format!("cannot start cargo: {refused}")))
}
