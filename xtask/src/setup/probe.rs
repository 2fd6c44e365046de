//! Looks whether something is there.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pktmeta_build::{CLANG, CLANG_VARIABLE, TESTED};

use crate::error::{Error, Result};
use crate::tool;

/// By what one sees that a need is met.
#[derive(Debug, PartialEq)]
pub(super) enum Sign {
    /// A program in the path.
    Program(&'static str),
    /// A header that the C compiler finds.
    Header(&'static str),
    /// A module of Python.
    Module(&'static str),
    /// A file.
    File(&'static str),
    /// A clang for the BPF programs.
    Clang,
    /// An old one, beside which the tests put the newest.
    OldClang,
}

impl Sign {
    pub(super) fn is_seen(&self) -> bool {
        match self {
            Self::Program(name) => program_in_path(name),
            Self::Header(name) => tool::succeeds(
                Command::new("cc")
                    .args(["-fsyntax-only", "-include", name])
                    .args(["-x", "c", "/dev/null"]),
            ),
            Self::Module(name) => {
                tool::succeeds(Command::new("python3").args(["-c", &format!("import {name}")]))
            }
            Self::File(path) => Path::new(path).exists(),
            Self::Clang => clang(),
            Self::OldClang => old_clang(),
        }
    }
}

fn program_in_path(name: impl AsRef<Path>) -> bool {
    let executable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| executable(&folder.join(&name))))
}

/// Whether the build script of pktmeta-bpf will find a clang: the one that is named, else a
/// numbered one, else a `clang` that is new enough.
fn clang() -> bool {
    env::var_os(CLANG_VARIABLE).is_some()
        || pktmeta_build::names().any(|clang| program_in_path(&clang))
        || plain_clang_version().is_some_and(|version| version >= *CLANG.start())
}

/// Whether there is one of those that tests compile with, besides the newest.
fn old_clang() -> bool {
    let [older @ .., _] = TESTED;
    older.into_iter().any(program_in_path)
}

fn plain_clang_version() -> Option<u32> {
    let output = Command::new("clang").arg("--version").output().ok()?;
    major_version(&String::from_utf8_lossy(&output.stdout))
}

/// From `Debian clang version 14.0.6` and the like.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("clang version ")?;
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Refuses to go on with a clang that was named but does not run: installing one would not help.
pub(super) fn usable_override() -> Result {
    match env::var_os(CLANG_VARIABLE) {
        Some(clang) if !tool::succeeds(Command::new(&clang).arg("--version")) => {
            Err(Error::new(format!(
                "{CLANG_VARIABLE} names `{}`, but that does not run: correct or unset it",
                clang.display()
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_clang_is_read() {
        let debian = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n";
        assert_eq!(major_version(debian), Some(14));
        let plain = "clang version 22.1.8 (https://example.org/llvm 0123)";
        assert_eq!(major_version(plain), Some(22));
        assert_eq!(major_version("gcc (GCC) 12.2.0"), None);
    }

    #[test]
    fn what_is_in_the_path_is_seen() {
        assert!(Sign::Program("sh").is_seen());
        assert!(!Sign::Program("no-such-program").is_seen());
        assert!(Sign::Header("stdio.h").is_seen());
        assert!(!Sign::Header("no-such-header.h").is_seen());
    }
}
