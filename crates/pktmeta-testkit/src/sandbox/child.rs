//! What happens in the child between fork and exec.
//!
//! Only one thread of the parent survives the fork, so a lock that another thread held stays locked
//! for ever: nothing here may allocate, format or lock. Everything is prepared in the parent.

use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::inside::BPFFS;
use crate::error::{Context, Error};
use crate::{Result, sys};

/// A step that failed is reported to the parent by its place in this table, because exec can hand
/// over no more than an errno.
const STEPS: [Step; 6] = [
    Step {
        run: die_with_parent,
        what: "tie its life to its parent's",
    },
    Step {
        run: join_cgroup,
        what: "join the cgroup of the sandbox",
    },
    Step {
        run: new_namespaces,
        what: "make mount and network namespaces, which needs CAP_SYS_ADMIN (root)",
    },
    Step {
        run: make_mounts_private,
        what: "make its mounts private",
    },
    Step {
        run: mount_bpffs,
        what: "mount a BPF file system on /sys/fs/bpf (is sysfs mounted on /sys?)",
    },
    Step {
        run: loopback,
        what: "bring up loopback",
    },
];

struct Step {
    run: fn(&Prepared) -> io::Result<()>,
    /// Completes "it could not".
    what: &'static str,
}

/// A command that will enter a sandbox when it is spawned.
pub(super) struct Entry {
    /// The hook stays on the command of the caller, who may run it again: it has to know that it is
    /// over.
    over: Arc<AtomicBool>,
    failures: PipeReader,
}

/// What the child needs, made before the fork.
struct Prepared {
    procs: CString,
    parent: libc::pid_t,
    over: Arc<AtomicBool>,
    failures: PipeWriter,
}

impl Entry {
    /// Makes `command` enter the sandbox of a cgroup on its way to exec.
    pub(super) fn prepare(command: &mut Command, cgroup: &Path) -> Result<Self> {
        let procs = cgroup.join("cgroup.procs");
        let procs = CString::new(procs.as_os_str().as_bytes())
            .context(|| format!("the cgroup path {} has a NUL in it", cgroup.display()))?;
        let (reader, writer) =
            io::pipe().context(|| "cannot make a pipe to hear what fails in the sandbox".into())?;
        let over = Arc::new(AtomicBool::new(false));
        let prepared = Prepared {
            procs,
            // Not `std::process::parent_id` in the child: we want to know whether the parent
            // changed.
            parent: std::process::id() as libc::pid_t,
            over: Arc::clone(&over),
            failures: writer,
        };
        // SAFETY: `enter` only makes system calls on what was prepared here; see the module.
        unsafe { command.pre_exec(move || prepared.enter()) };
        Ok(Self {
            over,
            failures: reader,
        })
    }

    /// Says in words why spawning failed.
    pub(super) fn explain(&mut self, program: &str, error: io::Error) -> Error {
        let mut step = [0; 1];
        // The hook keeps its end of the pipe open for as long as the command lives, so ask before
        // reading.
        let told = sys::poll(self.failures.as_fd(), libc::POLLIN, Duration::ZERO);
        let failed = match told {
            Ok(true) if self.failures.read_exact(&mut step).is_ok() => {
                STEPS.get(usize::from(step[0]))
            }
            _ => None,
        };
        let message = match failed {
            Some(step) => format!(
                "cannot run {program} in a sandbox: it could not {}",
                step.what
            ),
            None => format!("cannot run {program} in a sandbox: it cannot be executed"),
        };
        Error::with_source(message, error)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Prepared {
    fn enter(&self) -> io::Result<()> {
        if self.over.load(Ordering::Relaxed) {
            return Ok(());
        }
        for (index, step) in STEPS.iter().enumerate() {
            if let Err(error) = (step.run)(self) {
                // If even this fails the parent still gets the errno.
                let _ = (&self.failures).write(&[index as u8]);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn die_with_parent(prepared: &Prepared) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    sys::check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // The parent may have died before we asked to be told.
    // SAFETY: getppid has no arguments and cannot fail.
    if unsafe { libc::getppid() } != prepared.parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

fn join_cgroup(prepared: &Prepared) -> io::Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    let fd = sys::check(unsafe {
        libc::open(prepared.procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
    })?;
    // SAFETY: the descriptor was just opened and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // Zero stands for the writing process, whatever its number is in the pid namespace of the
    // reader. SAFETY: one byte is passed and its length is 1.
    let written = unsafe { libc::write(fd.as_raw_fd(), b"0".as_ptr().cast(), 1) };
    if written < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn new_namespaces(_: &Prepared) -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET)
}

fn make_mounts_private(_: &Prepared) -> io::Result<()> {
    let (none, flags) = (ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the path is a C string; a change of propagation ignores the null pointers.
    sys::check(unsafe { libc::mount(none, c"/".as_ptr(), none, flags, ptr::null()) }).map(drop)
}

fn mount_bpffs(_: &Prepared) -> io::Result<()> {
    const BPF: &CStr = c"bpf";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all strings are C strings with static lifetime; the options may be null.
    let result = unsafe {
        libc::mount(
            BPF.as_ptr(),
            BPFFS.as_ptr(),
            BPF.as_ptr(),
            flags,
            ptr::null(),
        )
    };
    sys::check(result).map(drop)
}

fn loopback(_: &Prepared) -> io::Result<()> {
    sys::loopback_up()
}
