//! Tests that run in a sandbox of their own.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::Sandbox;
use super::supervise::{self, Ending};
use super::{inside::SANDBOX_ENV, interrupt};
use crate::error::{Context, Error};
use crate::{Result, root, sys};

/// `<fd>:<test>`: tells the child which test it was started for, and where to write that it ran.
const TEST_ENV: &str = "PKTMETA_SANDBOX_TEST";

/// Enough for a test that loads programs and waits for packets, on a slow machine.
const DEFAULT_LIMIT: Duration = Duration::from_secs(120);

/// Runs the body of a `#[test]` in a [sandbox](Sandbox) of its own, within 120 seconds.
///
/// The test binary is started again, for this one test, inside [`Sandbox::run`], and the closure
/// runs there. The call has to be in the test function itself, because the path of the test is
/// taken from the type of the closure. Parallel tests do not see each other. `cargo test` and
/// nextest both work, with their own capturing of output; `#[should_panic]` and `#[ignore]` mean
/// what they always do.
///
/// # Panics
/// - if the closure panics, after printing what the test printed;
/// - if the test did not run in the sandbox after all, for example because the call is in a helper
///   function;
/// - if the time is over: everything in the sandbox is killed then;
/// - if the process lacks a capability ([`root::require`]): a test that needs root must fail
///   without it, so that nobody takes it for passed.
///
/// ```no_run
/// use pktmeta_testkit::sandbox::in_sandbox;
///
/// #[test]
/// fn pins_are_private() {
///     in_sandbox(|sandbox| {
///         assert!(!sandbox.bpffs().join("pins_of_the_host").exists());
///     });
/// }
/// # fn main() {}
/// ```
#[track_caller]
pub fn in_sandbox<F: FnOnce(&Sandbox)>(test: F) {
    in_sandbox_for(DEFAULT_LIMIT, test);
}

/// [`in_sandbox`] with another time limit.
///
/// # Panics
/// As [`in_sandbox`] does.
#[track_caller]
pub fn in_sandbox_for<F: FnOnce(&Sandbox)>(limit: Duration, test: F) {
    let name = test_name(std::any::type_name::<F>());
    match Assignment::of_this_process().filter(|assignment| assignment.test == name) {
        Some(assignment) => run_here(&assignment, test),
        None => run_in_child(name, limit),
    }
}

/// In the sandbox: runs the closure, and tells the parent.
#[track_caller]
fn run_here(assignment: &Assignment, test: impl FnOnce(&Sandbox)) {
    let Some(sandbox) = Sandbox::current() else {
        panic!(
            "{TEST_ENV} is set but {} is not: set neither by hand",
            SANDBOX_ENV
        );
    };
    assignment.report(STARTED);
    test(&sandbox);
    assignment.report(FINISHED);
}

/// Outside: runs this test again in a sandbox and judges what came of it.
#[track_caller]
fn run_in_child(name: &str, limit: Duration) {
    let verdict = root::require()
        .and_then(|()| Run::start_and_wait(name, limit))
        .map_err(|error| error.context(format!("cannot run the test {name} in a sandbox")));
    let run = match verdict {
        Ok(run) => run,
        Err(error) => panic!("{error:#}"),
    };
    // Not straight to the descriptor: the harness captures what is printed, and shows it if the
    // test fails. Indented: it is another run of the harness, and no line of this one.
    for line in run.output.lines() {
        println!("    {line}");
    }
    if let Some(signal) = run.ending.interrupted_by {
        interrupt::die_of(signal);
    }
    if let Err(why) = run.judge(name, limit) {
        panic!("{why}");
    }
}

const STARTED: u8 = b's';
const FINISHED: u8 = b'f';

/// What the environment says this process was started for.
struct Assignment {
    fd: RawFd,
    test: String,
}

impl Assignment {
    fn of_this_process() -> Option<Self> {
        let value = env::var(TEST_ENV).ok()?;
        let (fd, test) = value.split_once(':')?;
        Some(Self {
            fd: fd.parse().ok()?,
            test: test.to_owned(),
        })
    }

    #[track_caller]
    fn report(&self, event: u8) {
        // SAFETY: one byte is passed and its length is 1. The descriptor was inherited for this
        // purpose; if it is not open, the call fails.
        let written = unsafe { libc::write(self.fd, (&raw const event).cast(), 1) };
        if written != 1 {
            let error = io::Error::last_os_error();
            panic!(
                "cannot report to the parent of the sandbox on descriptor {}: {error}",
                self.fd
            );
        }
    }
}

/// A finished run of one test in a sandbox.
struct Run {
    ending: Ending,
    output: String,
    events: Vec<u8>,
}

impl Run {
    fn start_and_wait(name: &str, limit: Duration) -> Result<Self> {
        let this = env::current_exe()
            .context(|| "cannot find the test binary to start it again".into())?;
        let file = |what| sys::memfd(what).context(|| "cannot make a file in memory".into());
        // Files and not pipes: they never fill up, and a process that outlives the test does not
        // hold us.
        let mut output = file(c"test output")?;
        let mut events = file(c"test events")?;
        let share = |file: &File| {
            file.try_clone()
                .context(|| "cannot duplicate a descriptor".into())
        };
        let mut command = Command::new(this);
        command
            .args(child_arguments(name, env::args_os()))
            .env(TEST_ENV, format!("{}:{name}", events.as_raw_fd()))
            .stdin(Stdio::null())
            .stdout(share(&output)?)
            .stderr(share(&output)?);
        inherit(&mut command, events.as_raw_fd());
        let ending = supervise::run(&mut command, Some(limit))?;
        Ok(Self {
            ending,
            output: String::from_utf8_lossy(&contents(&mut output)?).into_owned(),
            events: contents(&mut events)?,
        })
    }

    fn judge(&self, name: &str, limit: Duration) -> Result<()> {
        let count = |event| self.events.iter().filter(|&&seen| seen == event).count();
        let why = if self.ending.timed_out {
            format!(
                "ran longer than {limit:?} and was killed; use in_sandbox_for to give it more time"
            )
        } else if count(STARTED) == 0 {
            format!(
                "did not run in the sandbox ({}): call in_sandbox in the test function itself, \
                 not in a helper",
                self.ending.status
            )
        } else if count(FINISHED) != count(STARTED) || !self.ending.status.success() {
            format!(
                "failed in the sandbox ({}), see its output",
                self.ending.status
            )
        } else {
            return Ok(());
        };
        Err(Error::new(format!("the test {name} {why}")))
    }
}

/// Lets one descriptor through exec, in this command only: clearing close-on-exec here in the
/// parent would leak it into whatever other threads start.
fn inherit(command: &mut Command, fd: RawFd) {
    let hook = move || {
        // SAFETY: F_SETFD takes a number.
        sys::check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
    };
    // SAFETY: between fork and exec the hook makes one system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

fn child_arguments(name: &str, own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = ["--exact", name, "--nocapture"]
        .map(OsString::from)
        .to_vec();
    // Somebody asked for ignored tests, and this is one, perhaps.
    if own
        .into_iter()
        .any(|argument| argument == "--ignored" || argument == "--include-ignored")
    {
        arguments.push("--include-ignored".into());
    }
    arguments
}

fn contents(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .context(|| "cannot read what the test in the sandbox wrote".into())?;
    Ok(bytes)
}

/// The path by which the harness knows a test, from the name of the type of a closure in it.
fn test_name(type_name: &str) -> &str {
    let function = type_name.split("::{{closure}}").next().unwrap_or(type_name);
    function
        .split_once("::")
        .map_or(function, |(_crate, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_named_after_the_closure_in_it() {
        assert_eq!(
            test_name("krate::module::a_test::{{closure}}"),
            "module::a_test"
        );
        assert_eq!(
            test_name("krate::a_test::{{closure}}::{{closure}}"),
            "a_test"
        );
        assert_eq!(test_name("krate::a_test"), "a_test");
    }

    #[test]
    fn ignored_tests_are_passed_on() {
        let own = |flag: &str| [OsString::from("binary"), OsString::from(flag)].into_iter();
        assert_eq!(
            child_arguments("t", own("--ignored")).last().unwrap(),
            "--include-ignored"
        );
        assert_eq!(
            child_arguments("t", own("--quiet")).last().unwrap(),
            "--nocapture"
        );
    }
}
