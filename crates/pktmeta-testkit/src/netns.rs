//! Throw-away network namespaces.
//!
//! A [`Netns`] is held by a file descriptor only: it has no name, needs no mount, and its devices,
//! routes and attached programs disappear with the last descriptor, socket or process in it.
//!
//! Needs `CAP_SYS_ADMIN`.

use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use crate::error::Context;
use crate::{Result, sys};

/// A network namespace. Clones are the same namespace.
#[derive(Debug, Clone)]
pub struct Netns {
    fd: Arc<OwnedFd>,
    id: u64,
}

impl Netns {
    /// Makes a namespace that is ready for tests: loopback is up, and devices that are made in it
    /// later neither probe for duplicate IPv6 addresses nor look for routers, so that an address
    /// works as soon as its link does and nobody sends what a test did not ask for.
    ///
    /// # Errors
    /// The process lacks `CAP_SYS_ADMIN`, or `/proc/sys/net` is read-only.
    ///
    /// ```no_run
    /// use pktmeta_testkit::netns::Netns;
    /// use std::net::UdpSocket;
    ///
    /// let netns = Netns::new()?;
    /// let socket = netns.run(|| UdpSocket::bind("127.0.0.1:53")).unwrap();
    /// // The socket stays in its namespace, wherever it is used from.
    /// # Ok::<(), pktmeta_testkit::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        // A thread of its own, so that the caller never leaves its namespace, not even when we
        // fail.
        on_new_thread(|| {
            sys::unshare(libc::CLONE_NEWNET).context(|| {
                "cannot make a network namespace; it needs CAP_SYS_ADMIN (root)".into()
            })?;
            sys::loopback_up().context(|| {
                "cannot bring up the loopback device of a new network namespace".into()
            })?;
            QUIET_IPV6
                .iter()
                .try_for_each(|(name, value)| set_ipv6_default(name, value))?;
            Self::current()
        })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        const PATH: &str = "/proc/thread-self/ns/net";
        let file = File::open(PATH).context(|| {
            format!("cannot open {PATH}, the network namespace of this thread; mount /proc")
        })?;
        let id = file
            .metadata()
            .context(|| format!("cannot read the inode number of {PATH}"))?
            .ino();
        Ok(Self {
            fd: Arc::new(file.into()),
            id,
        })
    }

    /// The inode number, which is what tools print to tell namespaces apart.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Runs a closure on a thread inside the namespace and returns what it returns. Threads and
    /// processes that the closure starts are in the namespace too.
    ///
    /// # Panics
    /// If the closure panics, with its panic; or if the process has lost `CAP_SYS_ADMIN`.
    pub fn run<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> T {
        on_new_thread(|| {
            self.switch();
            closure()
        })
    }

    /// Moves the calling thread into the namespace until the guard is dropped.
    ///
    /// # Panics
    /// If `/proc` is not mounted or the process has lost `CAP_SYS_ADMIN`.
    #[must_use = "the thread goes back as soon as the guard is dropped"]
    pub fn enter(&self) -> NetnsGuard {
        let before = match Self::current() {
            Ok(before) => before,
            Err(error) => panic!("cannot remember the network namespace to go back to: {error:#}"),
        };
        self.switch();
        NetnsGuard {
            before,
            not_send: PhantomData,
        }
    }

    /// A command that will run inside the namespace. It sees the mounts of the caller:
    /// `/sys/class/net` keeps showing the devices of the namespace in which `/sys` was mounted.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let fd = Arc::clone(&self.fd);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the hook makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || sys::set_netns(fd.as_fd())) };
        command
    }

    fn switch(&self) {
        if let Err(error) = sys::set_netns(self.as_fd()) {
            panic!(
                "cannot enter network namespace {}; it needs CAP_SYS_ADMIN (root): {error}",
                self.id
            );
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Keeps a thread inside a [`Netns`]; dropping it brings the thread back.
///
/// If that fails the process is aborted: a test that goes on in the wrong namespace can break the
/// host. Guards on one thread must be dropped in the reverse order of their making, which scopes do
/// by themselves.
#[derive(Debug)]
pub struct NetnsGuard {
    before: Netns,
    /// A namespace belongs to a thread, so the guard must be dropped where it was made.
    not_send: PhantomData<*const ()>,
}

impl Drop for NetnsGuard {
    fn drop(&mut self) {
        if let Err(error) = sys::set_netns(self.before.as_fd()) {
            eprintln!(
                "cannot go back to network namespace {}: {error}; aborting",
                self.before.id
            );
            std::process::abort();
        }
    }
}

/// Duplicate address detection would delay an address by a second; router solicitations are packets
/// that a test did not send; router advertisements would reconfigure the namespace.
const QUIET_IPV6: [(&str, &str); 3] = [
    ("accept_dad", "0"),
    ("router_solicitations", "0"),
    ("accept_ra", "0"),
];

/// Sets the default for devices that are made in this thread's namespace from now on.
fn set_ipv6_default(name: &str, value: &str) -> Result<()> {
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/{name}");
        match fs::write(&path, value) {
            // A kernel that was started with IPv6 switched off has nothing to set.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result
                .context(|| format!("cannot write {value} to {path}; is /proc/sys read-only?"))?,
        }
    }
    Ok(())
}

fn on_new_thread<T: Send>(closure: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(closure).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
