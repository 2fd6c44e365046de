//! A place where a process may attach and pin BPF programs, and of which nothing is left
//! afterwards.
//!
//! A sandbox is
//! - a cgroup v2 of its own, below the cgroup of the caller, to attach cgroup programs to; when the
//!   sandbox ends, whatever still runs in it is killed and the cgroup is removed, with everything
//!   attached to it;
//! - a private mount namespace with a new BPF file system on `/sys/fs/bpf`, so that pins of the
//!   host are neither seen nor touched, and pins of the sandbox end with it; some kernels put
//!   `maps.debug` and `progs.debug` into every new one, otherwise it is empty;
//! - a network namespace with nothing but loopback, which is up.
//!
//! Every other mount is that of the host. In particular `/sys/class/net` still shows the host's
//! devices.
//!
//! The sandbox ends when its command does, however that happens, and also when the process that
//! made it is interrupted: SIGINT, SIGTERM and SIGHUP are held back until all is cleaned up. Only
//! SIGKILL gets through; then the kernel kills the command, and the next sandbox removes what was
//! left behind.
//!
//! Needs Linux 5.3, cgroup v2 mounted anywhere, and `CAP_SYS_ADMIN`.

mod cgroup;
mod child;
mod interrupt;
mod supervise;
mod test;

use std::env;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

pub use test::{in_sandbox, in_sandbox_for};

use crate::Result;
use supervise::Ending;

/// Tells a process inside which cgroup is its sandbox.
const SANDBOX_ENV: &str = "PKTMETA_SANDBOX";

/// Where the private BPF file system is mounted.
const BPFFS: &CStr = c"/sys/fs/bpf";

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
    /// let status = Sandbox::run(Command::new("sh").args(["-c", "ls $PKTMETA_SANDBOX /sys/fs/bpf"]))?;
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
