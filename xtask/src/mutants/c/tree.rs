//! A copy of the workspace in which mutants are tried.

use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::table::Mutant;
use crate::error::{Error, Result};
use crate::tool;

/// How long the tests of one mutant may take. The slowest choice takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(600);

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

impl Tree {
    /// Copies what git tracks, as it is in the working tree.
    pub(super) fn copy() -> Result<Self> {
        let root = tool::root().join("target/mutants/tree");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(|error| cannot("remove", &root, &error))?;
        }
        let mut git = tool::in_workspace(Command::new("git"));
        let tracked = git
            .args(["ls-files", "-z"])
            .output()
            .map_err(|error| Error::new(format!("cannot start git: {error}")))?;
        for path in tracked.stdout.split(|byte| *byte == 0) {
            let path = String::from_utf8_lossy(path);
            let from = tool::root().join(path.as_ref());
            if path.is_empty() || !from.is_file() {
                continue;
            }
            let to = root.join(path.as_ref());
            let folder = to.parent().unwrap_or(&root);
            fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
            fs::copy(&from, &to).map_err(|error| cannot("copy", &from, &error))?;
        }
        Ok(Self { root })
    }

    /// Without a mutant the tests pass, or they would catch everything.
    pub(super) fn must_pass(&self, tests: &[String]) -> Result {
        match self.test(tests)? {
            Outcome::Survived => Ok(()),
            outcome => Err(Error::new(format!(
                "without any mutant, `cargo test {}` is: {outcome}",
                tests.join(" ")
            ))),
        }
    }

    /// Makes the change, tests it, and takes it back.
    pub(super) fn attempt(&self, mutant: &Mutant) -> Result<Outcome> {
        let path = self.root.join(mutant.file());
        let source = fs::read_to_string(&path).map_err(|error| cannot("read", &path, &error))?;
        write(&path, &mutant.apply(&source)?)?;
        let outcome = self.test(mutant.tests());
        write(&path, &source)?;
        outcome
    }

    fn test(&self, tests: &[String]) -> Result<Outcome> {
        let built = self.cargo(&["--no-run"], tests)?;
        if built != Ended::Well {
            return Ok(Outcome::Unviable);
        }
        Ok(match self.cargo(&[], tests)? {
            Ended::Well => Outcome::Survived,
            Ended::Badly => Outcome::Caught,
            Ended::Late => Outcome::TimedOut,
        })
    }

    fn cargo(&self, options: &[&str], tests: &[String]) -> Result<Ended> {
        let mut cargo = tool::cargo();
        cargo
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.with_file_name("build"))
            .args(["test", "--quiet"])
            .args(options)
            .args(tests)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = cargo.spawn();
        wait(child.map_err(|error| Error::new(format!("cannot start cargo: {error}")))?)
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
fn wait(mut child: Child) -> Result<Ended> {
    let started = Instant::now();
    loop {
        let status = child
            .try_wait()
            .map_err(|error| Error::new(format!("cannot wait for cargo: {error}")))?;
        match status {
            Some(status) if status.success() => return Ok(Ended::Well),
            Some(_) => return Ok(Ended::Badly),
            None if started.elapsed() > LIMIT => break,
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
    tool::run(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]))?;
    child
        .wait()
        .map_err(|error| Error::new(format!("cannot wait for cargo: {error}")))?;
    Ok(Ended::Late)
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| cannot("write", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot {verb} {}: {error}", path.display()))
}
