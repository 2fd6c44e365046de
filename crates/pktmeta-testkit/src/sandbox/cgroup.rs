//! A cgroup v2 directory that lives as long as its owner.
//!
//! The owner holds a lock on the directory. The kernel drops the lock when the owner dies, however
//! it dies, so a directory with our name and no lock is stale. Process ids would be a worse proof:
//! they are used again, and mean something else in another pid namespace.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::error::{Context, Error};
use crate::sys;

const NAME_PREFIX: &str = "pktmeta-";

/// How long killed processes may take to leave. They may be in the middle of a long system call.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// A cgroup that this process made and will remove.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    removed: bool,
    /// Held, not read: see the module.
    _lock: File,
}

impl Cgroup {
    /// Makes `pktmeta-<pid>-<n>` below the cgroup of this process, after sweeping what dead owners
    /// left there.
    pub(super) fn create() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = own_cgroup()?;
        sweep(&parent);
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{NAME_PREFIX}{}-{n}", std::process::id()));
            match fs::create_dir(&path) {
                // Somebody with our process id was here: a dead one whom the sweep could not
                // remove, or one of another pid namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result.context(|| {
                    format!(
                        "cannot make the cgroup {}; it needs root and a writable cgroup v2",
                        path.display()
                    )
                })?,
            }
            // Between mkdir and lock a sweep of another process may take the directory for a stale
            // one.
            if let Some(lock) = lock(&path) {
                return Ok(Self {
                    path,
                    removed: false,
                    _lock: lock,
                });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills all processes in it, also those in cgroups that they made below.
    pub(super) fn kill(&self) -> Result<()> {
        kill_all(&self.path)
    }

    /// Kills what is left in it and removes it.
    pub(super) fn remove(mut self) -> Result<()> {
        self.removed = true;
        kill_and_remove(&self.path)
    }
}

impl Drop for Cgroup {
    /// The way out of errors and panics, which have more to say than what could go wrong here.
    fn drop(&mut self) {
        if !self.removed {
            let _ = kill_and_remove(&self.path);
        }
    }
}

/// The directory of this process's own cgroup v2.
fn own_cgroup() -> Result<PathBuf> {
    let read = |path: &str| {
        fs::read(path).context(|| format!("cannot read {path} to find cgroup v2; mount /proc"))
    };
    let mounts = read("/proc/self/mountinfo")?;
    let is_reached = |mount: &Mount| sys::mount_id(&mount.point).is_ok_and(|id| id == mount.id);
    let mount = cgroup_mounts(&mounts).find(is_reached).ok_or_else(|| {
        Error::new(
            "cgroup v2 is not mounted, or something else is mounted over it; mount it with: \
             mount -t cgroup2 none /sys/fs/cgroup",
        )
    })?;
    let membership = read("/proc/self/cgroup")?;
    Ok(own_directory(&mount, &membership)
        .filter(|path| path.is_dir())
        .unwrap_or(mount.point))
}

/// Where cgroup v2 is mounted, and which part of the hierarchy is.
#[derive(Debug, PartialEq)]
struct Mount {
    /// The kernel's number of it.
    id: u64,
    root: PathBuf,
    point: PathBuf,
}

/// The mounts of cgroup v2 in the text of `/proc/self/mountinfo`: `36 35 98:0 /root /point options
/// [tags] - type ...`.
fn cgroup_mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount> {
    let lines = mountinfo.split(|&byte| byte == b'\n');
    lines.filter_map(|line| {
        let mut words = line.split(|&byte| byte == b' ');
        let id = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let root = unescape(words.nth(2)?);
        let point = unescape(words.next()?);
        words.find(|word| *word == b"-")?;
        (words.next()? == b"cgroup2").then_some(Mount { id, root, point })
    })
}

/// Where the cgroup that `/proc/self/cgroup` names (`0::/path`) is, if the mount shows it.
fn own_directory(mount: &Mount, membership: &[u8]) -> Option<PathBuf> {
    let path = membership
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let inside = Path::new(OsStr::from_bytes(path))
        .strip_prefix(&mount.root)
        .ok()?;
    Some(mount.point.join(inside))
}

/// mountinfo writes blanks and the like as `\040`.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3).and_then(octal))
            .flatten();
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Locks a cgroup directory, unless somebody else has it or it is gone by the time it is locked.
fn lock(path: &Path) -> Option<File> {
    let directory = File::open(path).ok()?;
    // SAFETY: flock takes a descriptor, which `directory` keeps open, and no memory.
    sys::check(unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
        .ok()?;
    let here = fs::metadata(path).ok()?;
    let locked = directory.metadata().ok()?;
    (here.ino() == locked.ino()).then_some(directory)
}

/// Removes our cgroups whose owner is dead. What cannot be removed now is left to the next sweep.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|entry| is_ours(&entry.file_name()))
    {
        if let Some(_lock) = lock(&entry.path()) {
            let _ = kill_and_remove(&entry.path());
        }
    }
}

/// Whether a name is `pktmeta-<pid>-<n>`.
fn is_ours(name: &OsStr) -> bool {
    let numbers = name
        .to_str()
        .and_then(|name| name.strip_prefix(NAME_PREFIX)?.split_once('-'));
    numbers.is_some_and(|(pid, n)| pid.parse::<u32>().is_ok() && n.parse::<u32>().is_ok())
}

fn kill_and_remove(path: &Path) -> Result<()> {
    let deadline = Instant::now() + REMOVE_LIMIT;
    loop {
        kill_all(path)?;
        match remove_tree(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Killed processes count until they are reaped or at least past the last of their exit.
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            result => {
                return result
                    .context(|| format!("cannot remove the cgroup {}; use rmdir", path.display()));
            }
        }
    }
}

fn kill_all(path: &Path) -> Result<()> {
    match fs::write(path.join("cgroup.kill"), "1") {
        Ok(()) => Ok(()),
        Err(_) if !path.exists() => Ok(()),
        // Linux before 5.14 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => kill_each(path),
        Err(error) => Err(error),
    }
    .context(|| format!("cannot kill the processes in the cgroup {}", path.display()))
}

fn kill_each(path: &Path) -> io::Result<()> {
    for child in children(path)? {
        kill_each(&child)?;
    }
    let processes = fs::read_to_string(path.join("cgroup.procs"))?;
    for pid in processes
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|&pid: &libc::pid_t| pid > 0)
    {
        // SAFETY: kill takes no memory. A process that is gone already is what we want.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    Ok(())
}

/// rmdir, children first; `fs::remove_dir_all` would try to unlink the control files.
fn remove_tree(path: &Path) -> io::Result<()> {
    for child in children(path)? {
        remove_tree(&child)?;
    }
    fs::remove_dir(path)
}

fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
        38 31 0:35 /box /sys/fs/cgroup/my\\040v2 rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn cgroup_v2_is_found_beside_v1_and_its_path_is_unescaped() {
        let found: Vec<_> = cgroup_mounts(HYBRID).collect();
        assert_eq!(
            found,
            [Mount {
                id: 38,
                root: "/box".into(),
                point: "/sys/fs/cgroup/my v2".into()
            }]
        );
        let none = |text: &[u8]| cgroup_mounts(text).next().is_none();
        assert!(none(b"31 23 0:28 / /sys rw - sysfs sysfs rw\n"));
        assert!(none(b"\nnonsense\n1 2 3"));
    }

    #[test]
    fn own_cgroup_is_looked_up_below_the_part_that_is_mounted() {
        let mount = cgroup_mounts(HYBRID).next().unwrap();
        let directory = own_directory(&mount, b"8:pids:/x\n0::/box/in/it\n");
        assert_eq!(directory, Some("/sys/fs/cgroup/my v2/in/it".into()));
        assert_eq!(own_directory(&mount, b"0::/elsewhere\n"), None);
        assert_eq!(own_directory(&mount, b"8:pids:/box\n"), None);
    }

    #[test]
    fn only_our_names_are_swept() {
        assert!(is_ours("pktmeta-1-0".as_ref()));
        for name in [
            "pktmeta",
            "pktmeta-1",
            "pktmeta-x-1",
            "pktmeta-1-1-1",
            "other-1-0",
        ] {
            assert!(!is_ours(name.as_ref()), "{name}");
        }
    }
}
