//! Signals that are read instead of taken.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    process::Child,
    time::Duration,
};

/// Signals that are held back and read instead, while it lives.
pub(crate) struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// What would end this command, and that a child ended.
    const HELD: [i32; 7] = [
        libc::SIGCHLD,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];

    pub(crate) fn hold() -> io::Result<Self> {
        let held = set(&Self::HELD);
        let mut before = set(&[]);
        // SAFETY: both are signal sets.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &held, &mut before) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        // SAFETY: held is a signal set.
        let fd = unsafe { libc::signalfd(-1, &held, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new fd, which is ours alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, before })
    }

    /// Lets them through again, for a program to begin with.
    pub(crate) fn let_through(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + use<> {
        let before = self.before;
        move || restore(&before)
    }

    /// Those that arrived since the last call.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = Signal> + '_ {
        std::iter::from_fn(|| {
            // SAFETY: zeros are such a structure.
            let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of_val(&info);
            // SAFETY: info is a signalfd_siginfo to be written.
            let read = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) };
            (read == size as isize).then_some(Signal(info))
        })
    }

    /// Ends this process as `signal` would. Returns if that does not end one.
    pub(crate) fn die_of(self, signal: i32) {
        let no_core = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: no_core is an rlimit; SIG_DFL is a handler.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &no_core);
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        let _ = restore(&self.before);
    }
}

impl AsFd for Signals {
    /// Readable when a signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A signal that arrived.
pub(crate) struct Signal(libc::signalfd_siginfo);

impl Signal {
    /// Whether somebody wants this process to end.
    pub(crate) fn ends(&self) -> bool {
        ![libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2].contains(&(self.0.ssi_signo as i32))
    }

    /// Passes it on, unless the program has it too, as the whole foreground has what is typed on a
    /// terminal.
    pub(crate) fn pass_to(&self, program: &Child) {
        if self.0.ssi_code != libc::SI_KERNEL {
            // The child was not waited for, so that its id is its own.
            self.send_to(program.id() as i32);
        }
    }

    /// Sends it to a process, unless it only says that a child ended.
    pub(crate) fn send_to(&self, process: i32) {
        let signal = self.0.ssi_signo as i32; // below 128
        if signal != libc::SIGCHLD {
            // SAFETY: kill takes no memory.
            unsafe { libc::kill(process, signal) };
        }
    }
}

/// Waits until one of them is readable, or for as long as is said.
pub(crate) fn wait<const N: usize>(fds: [BorrowedFd<'_>; N], at_most: Duration) -> io::Result<()> {
    let mut fds = fds.map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let milliseconds = at_most.as_millis().try_into().unwrap_or(i32::MAX);
    // SAFETY: fds are N pollfds.
    match unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, milliseconds) } {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}

fn restore(mask: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: mask is a signal set; the old one is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: zeros are a signal set, which sigemptyset makes an empty one; signals are the
    // kernel's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}
