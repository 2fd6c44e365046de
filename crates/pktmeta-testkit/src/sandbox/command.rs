//! Commands that run in a sandbox.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::inside::{BPFFS, SANDBOX_ENV};
use super::supervise::{self, Ending};
use crate::Result;

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
