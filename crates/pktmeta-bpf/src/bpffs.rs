//! The bpffs that our pins are in: mounted, opened and locked.

use crate::{
    dir::{Dir, Owner, is_ours, untrusted},
    error::{Context, Error, ErrorKind, Shown},
    host,
};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, StatFs},
    io::Errno,
    mount::MountFlags,
};
use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A bpffs, or the directory where one is to be mounted.
#[derive(Clone, Debug)]
pub(crate) struct Bpffs {
    path: PathBuf,
    /// How long to wait for another command that changes something in it.
    wait: Duration,
}

impl Bpffs {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            wait: WAIT,
        }
    }

    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its root; `None` if no bpffs is mounted there.
    pub(crate) fn open(&self) -> Result<Option<Dir>, Error> {
        match rustix::fs::statfs(&self.path) {
            Ok(found) if is_bpffs(&found) => {}
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => {
                return Err(error).context(|| format!("look for bpffs on {}", self.path.shown()));
            }
        }
        let root = Dir::walk(&self.path)?;
        let found = rustix::fs::fstatfs(&root)
            .context(|| format!("look for bpffs on {}", self.path.shown()))?;
        Ok(is_bpffs(&found).then_some(root))
    }

    /// Its root; mounts it if it is not there. It stays mounted, for others may use it too by then.
    pub(crate) fn mounted(&self) -> Result<Dir, Error> {
        // Try again if a `down` unmounts it in between.
        for _ in 0..3 {
            if let Some(root) = self.open()? {
                return Ok(root);
            }
            let tried = || format!("mount bpffs on {}", self.path.shown());
            self.mount().map_err(|error| {
                let remedy = "name a directory with --bpffs, or mount sysfs on /sys";
                error.during(tried()).or_remedy(remedy)
            })?;
        }
        let why = "others unmount it as often as it is mounted";
        Err(Error::new(
            ErrorKind::InUse,
            format!("mount bpffs on {}", self.path.shown()),
            why,
        ))
    }

    fn mount(&self) -> Result<(), Error> {
        let point = Dir::walk(&self.path)?;
        host::check_mounts_last(&self.path)?;
        let (flags, target) = (MountFlags::empty(), point.path_by_fd("."));
        rustix::mount::mount(MOUNT_SOURCE, target, "bpf", flags, OPTIONS).map_err(|error| {
            let path = self.path.shown();
            let remedy = match error {
                Errno::PERM => format!(
                    "mounting takes CAP_SYS_ADMIN: run `mount -t bpf -o mode=755 bpf {path}` as \
                     root"
                ),
                _ => format!("mount it: mount -t bpf -o mode=755 bpf {path}"),
            };
            Error::of("mount", error).with_remedy(remedy)
        })
    }

    /// Keeps other commands from changing anything in it while the result lives. If one has the
    /// lock, the call says so and waits.
    pub(crate) fn lock(&self, root: Dir) -> Result<Locked, Error> {
        let started = Instant::now();
        let mut waits = false;
        loop {
            match Locked::attempt(root.as_fd(), root.path())? {
                Attempt::Locked(lock) => {
                    return Ok(Locked { root, _lock: lock });
                }
                Attempt::Held(holder) => {
                    let waited = started.elapsed() >= self.wait;
                    if waited {
                        let tried = format!("lock {}", root.path().shown());
                        let why = format!("{holder} changes something there since {:?}", self.wait);
                        return Err(Error::new(ErrorKind::InUse, tried, why).with_remedy(
                            "let it end, or end it; then run this again. --wait SECONDS waits \
                             longer",
                        ));
                    }
                    if !waits {
                        let path = root.path().shown();
                        eprintln!("pktmeta: waits for {holder}, which changes something in {path}");
                    }
                    waits = true;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// True if a command changes something there just now.
    pub(crate) fn is_locked(root: &Dir) -> Result<bool, Error> {
        let Some(lock) = open_lock(root.as_fd(), root.path())? else {
            return Ok(false);
        };
        let shared = FlockOperation::NonBlockingLockShared;
        Ok(rustix::fs::flock(&lock, shared).is_err())
    }
}

/// The source that mountinfo shows for the mount.
const MOUNT_SOURCE: &str = "pktmeta";

/// The kernel's own mode is 1777: everybody could make names there that root would meet.
const OPTIONS: &std::ffi::CStr = c"mode=0755";

/// How long a command waits for another unless told otherwise.
const WAIT: Duration = Duration::from_secs(30);

/// The lock's name in the bpffs. It is a directory that only its owner can open, since a bpffs has
/// no files. It lies beside the pins that it guards, so that commands in other mount namespaces and
/// containers meet it too.
const LOCK: &str = "pktmeta-lock";

fn is_bpffs(found: &StatFs) -> bool {
    found.f_type == host::BPF_FS_MAGIC
}

/// A bpffs in which nobody else changes anything.
#[derive(Debug)]
pub(crate) struct Locked {
    root: Dir,
    _lock: OwnedFd,
}

impl Locked {
    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    fn attempt(root: BorrowedFd<'_>, path: &Path) -> Result<Attempt, Error> {
        let tried = || format!("lock {}", path.shown());
        loop {
            match rustix::fs::mkdirat(root, LOCK, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).context(tried),
            }
            let Some(lock) = open_lock(root, path)? else {
                continue; // its holder removed it
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Attempt::Held(holder(&lock))),
                Err(error) => return Err(error).context(tried),
            }
            // The holder before may have removed it between our opening and locking it.
            let own = rustix::fs::fstat(&lock).context(tried)?;
            match rustix::fs::statat(root, LOCK, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if there.st_ino == own.st_ino => return Ok(Attempt::Locked(lock)),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error).context(tried),
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Remove it while it is held. If it stays, the next command finds it unlocked.
        let _ = self.root.remove_dir(LOCK);
    }
}

enum Attempt {
    Locked(OwnedFd),
    Held(String),
}

/// Opens the lock, if it is there and only its owner can.
fn open_lock(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Error> {
    let path = path.join(LOCK);
    let tried = || format!("open the lock {}", path.shown());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(root, LOCK, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        lock => lock.context(tried)?,
    };
    let stat = rustix::fs::fstat(&lock).context(tried)?;
    if !is_ours(&stat) {
        return Err(untrusted(&path, Owner(stat.st_uid)));
    }
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        let remedy = format!("`rmdir {}` removes it", path.shown());
        let why = "others can open it, and keep it locked";
        return Err(Error::new(ErrorKind::Unusable, tried(), why).with_remedy(remedy));
    }
    Ok(Some(lock))
}

/// Who holds a lock, as far as can be known.
fn holder(lock: &OwnedFd) -> String {
    let found = || {
        let stat = rustix::fs::fstat(lock).ok()?;
        let (major, minor) = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        let file = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let pid: u32 = locks.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let at = fields.iter().position(|field| *field == file)?;
            fields.get(at.checked_sub(1)?)?.parse().ok()
        })?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some(format!("process {pid} ({:?})", name.trim_end()))
    };
    found().unwrap_or_else(|| "another command".into())
}
