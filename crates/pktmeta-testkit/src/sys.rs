//! System calls that std does not wrap, each behind a safe signature where it can be.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Turns the "-1 and errno" convention into a `Result`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// [`check`] for system calls made by number.
pub(crate) fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The kernel's number of the mount to which a path leads, as in `/proc/self/mountinfo`.
pub(crate) fn mount_id(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let (path, into) = (path.as_ptr(), found.as_mut_ptr());
    // SAFETY: the path is a C string, the result has the size of the structure that is filled in,
    // and both outlive the call.
    check(unsafe { libc::statx(libc::AT_FDCWD, path, 0, libc::STATX_MNT_ID, into) })?;
    // SAFETY: all of it was zeroed, and zeros are a value of it.
    Ok(unsafe { found.assume_init() }.stx_mnt_id)
}

/// Moves the calling thread into a network namespace. Async-signal-safe.
pub(crate) fn set_netns(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes a descriptor, which is open as long as it is borrowed, and touches no
    // memory.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread into new namespaces. Async-signal-safe.
pub(crate) fn unshare(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes no pointer. Callers pass CLONE_NEW* only, so nothing Rust relies on
    // (memory, descriptors) stops being shared between threads.
    check(unsafe { libc::unshare(namespaces) }).map(drop)
}

/// Brings the loopback device of the current network namespace up. Async-signal-safe.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: socket takes no pointer.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until after the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) }).map(drop)
}

/// A file without a name that vanishes with its last descriptor.
pub(crate) fn memfd(name: &CStr) -> io::Result<File> {
    // SAFETY: `name` is a C string that outlives the call.
    let fd = check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: the descriptor was just made and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// A descriptor that names a process, and is not fooled when its number is used again.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes no pointer.
    let fd = check_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor was just made and nobody else knows it; descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Sends a signal to the process behind a pidfd.
pub(crate) fn pidfd_signal(process: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill it in as kill(2) does.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    check_long(result).map(drop)
}

/// Waits until a descriptor has one of `events` or the time is over; whether it has. A signal ends
/// the wait early, as if the time were over.
pub(crate) fn poll(fd: BorrowedFd<'_>, events: libc::c_short, limit: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    let millis = limit.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int;
    // SAFETY: one pollfd is passed and its count is 1.
    match check(unsafe { libc::poll(&mut entry, 1, millis) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}
