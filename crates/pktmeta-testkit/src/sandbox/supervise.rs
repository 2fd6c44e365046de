//! Runs a command in a sandbox and sees it through to the end.

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::child::Entry;
use super::inside::SANDBOX_ENV;
use super::interrupt::HoldBack;
use crate::error::Context;
use crate::{Result, root, sys};

/// How often a waiting parent looks for interrupts, which may have been delivered to another
/// thread.
const TICK: Duration = Duration::from_millis(50);

/// How a sandbox came to its end.
pub(super) struct Ending {
    pub(super) status: ExitStatus,
    /// It was killed because its time was over.
    pub(super) timed_out: bool,
    /// The first signal that asked this process to end meanwhile.
    pub(super) interrupted_by: Option<libc::c_int>,
}

/// Runs `command` in a new sandbox, for at most `limit`, and removes the sandbox.
pub(super) fn run(command: &mut Command, limit: Option<Duration>) -> Result<Ending> {
    root::require()?;
    // Declared first, dropped last: an interrupt must wait until the cgroup is gone.
    let mut hold_back = HoldBack::new()?;
    let cgroup = Cgroup::create()?;
    let mut entry = Entry::prepare(command, cgroup.path())?;
    let spawned = command.env(SANDBOX_ENV, cgroup.path()).spawn();
    let mut child =
        spawned.map_err(|error| entry.explain(&command.get_program().to_string_lossy(), error))?;
    let ending = wait(&mut child, &cgroup, &mut hold_back, limit);
    if ending.is_err() {
        // We cannot wait for it as we should, so do not leave it behind as a zombie.
        let _ = child.kill();
        let _ = child.wait();
    }
    let removed = cgroup.remove();
    ending.and_then(|ending| removed.map(|()| ending))
}

fn wait(
    child: &mut Child,
    cgroup: &Cgroup,
    hold_back: &mut HoldBack,
    limit: Option<Duration>,
) -> Result<Ending> {
    let pidfd = sys::pidfd_open(child.id())
        .context(|| "cannot watch the command in the sandbox; pidfds need Linux 5.3".into())?;
    let started = Instant::now();
    let mut timed_out = false;
    let mut interrupted_by = None;
    // A signal of the terminal that came before exec was caught by our own handler in the forked
    // child.
    let mut terminal_reaches_it = false;
    loop {
        let exited = sys::poll(pidfd.as_fd(), libc::POLLIN, TICK)
            .context(|| "cannot wait for the command in the sandbox".into())?;
        if exited {
            let status = child
                .wait()
                .context(|| "cannot learn how the command in the sandbox ended".into())?;
            // Whoever comes late still has to know: the signal may have reached the command first.
            let interrupted_by =
                interrupted_by.or_else(|| hold_back.take().map(|late| late.signal));
            return Ok(Ending {
                status,
                timed_out,
                interrupted_by,
            });
        }
        if let Some(interrupt) = hold_back.take() {
            if interrupted_by.is_some() {
                cgroup.kill()?;
            } else if interrupt.forward || !terminal_reaches_it {
                // Fails only if the command has just exited, which is what was asked for.
                let _ = sys::pidfd_signal(pidfd.as_fd(), interrupt.signal);
            }
            interrupted_by = interrupted_by.or(Some(interrupt.signal));
        }
        terminal_reaches_it = true;
        if !timed_out && limit.is_some_and(|limit| started.elapsed() >= limit) {
            timed_out = true;
            cgroup.kill()?;
        }
    }
}
