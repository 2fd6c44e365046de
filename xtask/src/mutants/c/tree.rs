//! A copy of the workspace in which mutants are tried.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::table::Mutant;
use crate::error::{Error, Result};
use crate::mutants::limit::test_limit;
use crate::tool;

/// How long a build may take.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Caught,
    Survived,
    TimedOut,
    Unviable,
}

/// The copy, and the folder that its builds have to themselves.
pub(super) struct Tree {
    root: PathBuf,
}

/// Tests that pass without a mutant, or they would catch everything.
pub(super) struct Tests<'a> {
    arguments: &'a [String],
    limit: Duration,
}

impl Tree {
    /// Copies what git tracks, as it is in the working tree. A file that is there already, and is
    /// the same, is left: what was built of it need not be built again.
    pub(super) fn copy() -> Result<Self> {
        let root = tool::root().join("target/mutants/tree");
        let tracked: BTreeSet<PathBuf> = tool::tracked_files()?.into_iter().collect();
        remove_others(&root, Path::new(""), &tracked)?;
        for path in &tracked {
            let (from, to) = (tool::root().join(path), root.join(path));
            let new = fs::read(&from).map_err(|error| cannot("read", &from, &error))?;
            if fs::read(&to).is_ok_and(|old| old == new) {
                continue;
            }
            let folder = to.parent().unwrap_or(&root);
            fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
            fs::copy(&from, &to).map_err(|error| cannot("copy", &from, &error))?;
        }
        Ok(Self { root })
    }

    /// Builds and runs the tests that these arguments of `cargo test` choose.
    pub(super) fn tests<'a>(&self, arguments: &'a [String]) -> Result<Tests<'a>> {
        self.cargo(&["--no-run"], arguments, BUILD_LIMIT)?;
        let started = Instant::now();
        match self.cargo(&[], arguments, BUILD_LIMIT)? {
            Ended::Well => Ok(Tests {
                arguments,
                limit: test_limit(started.elapsed()),
            }),
            Ended::Badly | Ended::Late => Err(Error::new(format!(
                "`cargo test {}` does not pass without any mutant",
                arguments.join(" ")
            ))),
        }
    }

    /// Makes the change, tests it, and takes it back.
    pub(super) fn attempt(&self, mutant: &Mutant, tests: &Tests) -> Result<Outcome> {
        let path = self.root.join(mutant.file());
        let source = fs::read_to_string(&path).map_err(|error| cannot("read", &path, &error))?;
        write(&path, &mutant.apply(&source)?)?;
        let outcome = self.outcome(tests);
        write(&path, &source)?;
        outcome
    }

    fn outcome(&self, tests: &Tests) -> Result<Outcome> {
        if self.cargo(&["--no-run"], tests.arguments, BUILD_LIMIT)? != Ended::Well {
            return Ok(Outcome::Unviable);
        }
        Ok(match self.cargo(&[], tests.arguments, tests.limit)? {
            Ended::Well => Outcome::Survived,
            Ended::Badly => Outcome::Caught,
            Ended::Late => Outcome::TimedOut,
        })
    }

    fn cargo(&self, options: &[&str], tests: &[String], limit: Duration) -> Result<Ended> {
        let mut cargo = tool::cargo();
        cargo
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.with_file_name("build"))
            // Nobody debugs a mutant, and linking is half of the build.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["test", "--quiet"])
            .args(options)
            .args(tests)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = cargo.spawn();
        let child = child.map_err(|error| Error::new(format!("cannot start cargo: {error}")))?;
        wait(child, limit)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caught => "caught",
            Self::Survived => "survived",
            Self::TimedOut => "timed out",
            Self::Unviable => "does not build",
        })
    }
}

#[derive(PartialEq)]
enum Ended {
    Well,
    Badly,
    Late,
}

/// Waits for a group of processes, and ends it when its time is over.
fn wait(mut child: Child, limit: Duration) -> Result<Ended> {
    let started = Instant::now();
    loop {
        let status = child
            .try_wait()
            .map_err(|error| Error::new(format!("cannot wait for cargo: {error}")))?;
        match status {
            Some(status) if status.success() => return Ok(Ended::Well),
            Some(_) => return Ok(Ended::Badly),
            None if started.elapsed() > limit => break,
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
    tool::run(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]))?;
    child
        .wait()
        .map_err(|error| Error::new(format!("cannot wait for cargo: {error}")))?;
    Ok(Ended::Late)
}

/// Removes the files of a folder below the root that are not wanted.
fn remove_others(root: &Path, folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result {
    let here = root.join(folder);
    let entries = match fs::read_dir(&here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot("read", &here, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| cannot("read", &here, &error))?;
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            remove_others(root, &path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(entry.path()).map_err(|error| cannot("remove", &path, &error))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| cannot("write", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(format!("cannot {verb} {}: {error}", path.display()))
}
