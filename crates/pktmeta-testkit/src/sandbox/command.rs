//! Commands that run in a sandbox.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use super::inside::{BPFFS, SANDBOX_ENV};
use super::supervise::{self, Ending};
use crate::Result;
use crate::error::Context;

/// The sandbox that this process runs in.
#[derive(Debug, Clone)]
pub struct Sandbox {
    cgroup: PathBuf,
}

impl Sandbox {
    /// Runs a command in a new sandbox, and returns how it ended after nothing is left of the
    /// sandbox.
    ///
    /// The command finds the path of its cgroup in the environment variable `PKTMETA_SANDBOX`. It
    /// is killed when the calling *thread* ends before it. If the calling process gets SIGINT,
    /// SIGTERM or SIGHUP meanwhile, the command gets the signal too, the status says how it took
    /// it, and the caller decides what to do about its own life; a second signal kills the sandbox.
    ///
    /// # Errors
    /// The sandbox cannot be made (not root, no cgroup v2), the command cannot be started, or
    /// the cgroup cannot be removed. A command that fails is not an error.
    ///
    /// ```no_run
    /// use pktmeta_testkit::sandbox::Sandbox;
    /// use std::process::Command;
    ///
    /// let mut list = Command::new("sh");
    /// let status = Sandbox::run(list.args(["-c", "ls $PKTMETA_SANDBOX /sys/fs/bpf"]))?;
    /// assert!(status.success());
    /// # Ok::<(), pktmeta_testkit::Error>(())
    /// ```
    pub fn run(command: &mut Command) -> Result<ExitStatus> {
        supervise::run(command, None).map(|Ending { status, .. }| status)
    }

    /// Runs this program once more, with the same arguments, in a new sandbox, and returns the exit
    /// status that a shell would report: 128 and the number of the signal that killed it, if one
    /// did.
    ///
    /// # Errors
    /// Those of [`Sandbox::run`].
    ///
    /// ```no_run
    /// use pktmeta_testkit::sandbox::Sandbox;
    /// use std::process::ExitCode;
    ///
    /// fn main() -> Result<ExitCode, pktmeta_testkit::Error> {
    ///     let Some(sandbox) = Sandbox::current() else {
    ///         return Sandbox::run_this_program();
    ///     };
    ///     println!("attach to {}", sandbox.cgroup().display());
    ///     Ok(ExitCode::SUCCESS)
    /// }
    /// ```
    pub fn run_this_program() -> Result<ExitCode> {
        let this = env::current_exe().context(|| "cannot find this program".into())?;
        let status = Self::run(Command::new(this).args(env::args_os().skip(1)))?;
        let killed = || 128 + status.signal().unwrap_or(0);
        let code = status.code().unwrap_or_else(killed);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    /// The sandbox this process runs in, if it does.
    pub fn current() -> Option<Self> {
        env::var_os(SANDBOX_ENV).map(|path| Self {
            cgroup: path.into(),
        })
    }

    /// The directory of the cgroup v2 that this sandbox has for itself.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The directory of the BPF file system that this sandbox has for itself.
    pub fn bpffs(&self) -> &Path {
        Path::new(OsStr::from_bytes(BPFFS.to_bytes()))
    }
}
