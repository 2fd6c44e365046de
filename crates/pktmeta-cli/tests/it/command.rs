//! Running the command, and other people's tools, and judging how they ended.

use pktmeta_core::pins;
use pktmeta_testkit::{netns::Netns, sandbox::Sandbox};
use std::{
    ffi::{CString, OsStr},
    io::{BufRead, BufReader, ErrorKind, Read},
    ops::{Deref, DerefMut},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

pub(crate) const PKTMETA: &str = env!("CARGO_BIN_EXE_pktmeta");

/// The `pktmeta` command in a network namespace, with the sandbox's bpffs whatever the environment
/// says.
pub(crate) fn pktmeta(netns: &Netns, arguments: &[&str]) -> Command {
    let mut command = netns.command(PKTMETA);
    command
        .args(arguments)
        .env(pins::BPFFS_VARIABLE, pins::BPFFS);
    command
}

/// `pktmeta up` on an interface, for the sockets of the sandbox and nobody else.
pub(crate) fn up(sandbox: &Sandbox, netns: &Netns, interface: &str) -> Command {
    let mut command = pktmeta(netns, &["up", "--iface", interface, "--cgroup"]);
    command.arg(sandbox.cgroup());
    command
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// What it printed; it must have ended well.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// It must have ended with 1 and a message that has all of `parts` and says what to do.
    #[track_caller]
    pub(crate) fn fails(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.says(parts);
    }

    /// As [`fails`](Self::fails), for a mistake in the arguments.
    #[track_caller]
    pub(crate) fn is_refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:#?}");
        self.says(parts);
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        let Self { stdout, stderr, .. } = self;
        let waits = |line: &&str| line.starts_with("pktmeta: waits for ");
        let mut said = stderr.lines().skip_while(waits);
        let error = said.next().unwrap_or_default();
        assert!(error.starts_with("error: "), "{self:#?}");
        for part in parts {
            assert!(stderr.contains(part), "no {part:?} in: {stderr}");
        }
        let remedy = |line: &str| line.trim_start().starts_with("= ");
        assert!(stderr.lines().any(remedy), "no remedy in: {stderr}");
        assert_eq!(stdout, "", "a failure has nothing to say on stdout");
    }
}

pub(crate) trait Run {
    /// Runs it to its end.
    fn ran(&mut self) -> Ran;
    /// Starts it; it is killed with the result.
    fn running(&mut self) -> Running;
}

impl Run for Command {
    #[track_caller]
    fn ran(&mut self) -> Ran {
        let output = self.stdin(Stdio::null()).output();
        started(self, output).into()
    }

    #[track_caller]
    fn running(&mut self) -> Running {
        let child = self
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(started(self, child))
    }
}

/// A tool that the tests need is either there or the tests fail.
#[track_caller]
fn started<T>(command: &Command, result: std::io::Result<T>) -> T {
    match result {
        Ok(started) => started,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "{} is not installed: run `cargo xtask setup`",
            command.get_program().display()
        ),
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// A process that ends with its test.
pub(crate) struct Running(Child);

impl Running {
    /// Reads a stream of it until a line has `part` in it; the rest of the stream is returned.
    #[track_caller]
    pub(crate) fn wait_for(part: &str, stream: impl Read) -> impl Read {
        let mut stream = BufReader::new(stream);
        let mut seen = String::new();
        while !seen.contains(part) {
            let length = stream.read_line(&mut seen).unwrap();
            assert_ne!(length, 0, "it ended without {part:?}: {seen}");
        }
        stream
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: kill takes no memory; the child was not waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that everybody may read and that goes with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("pktmeta-cli-{}-{n}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                // Of a killed process that had this one's number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap();
                    break path;
                }
            }
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a file there.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        text(&path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed may have something mounted there.
        let path = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a C string that outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn text(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_str().unwrap().into()
}
