//! What the host must have: capabilities, BTF, bpffs, cgroup v2.

use crate::{
    error::{Context, Error},
    sys,
};
use std::{
    fs, io, iter,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where bpffs is mounted by custom.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Linux's `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Linux's `CGROUP2_SUPER_MAGIC`.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// The source of a bpffs that we mounted, in mountinfo: `down` unmounts it.
const MOUNT_SOURCE: &str = "pktmeta";

/// The capabilities that attaching takes, by bit.
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// It stands in for CAP_PERFMON and CAP_BPF.
const CAP_SYS_ADMIN: u32 = 21;

/// Checks that this process may load and attach BPF programs.
///
/// # Errors
/// It names the capabilities that are missing.
pub fn check_capabilities() -> Result<(), Error> {
    let status =
        fs::read_to_string("/proc/self/status").context(|| "read own capabilities".into())?;
    let effective = effective_capabilities(&status);
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| !has(*bit) && (*bit == 12 || !has(CAP_SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        "load BPF programs",
        format!("this process lacks {}", missing.join(", ")),
    )
    .remedy("run it as root, or give it these capabilities"))
}

/// Checks that the kernel describes its types, from which programs learn where fields are.
///
/// # Errors
/// It does not.
pub fn check_btf() -> Result<(), Error> {
    let path = "/sys/kernel/btf/vmlinux";
    fs::metadata(path).map(drop).map_err(|error| {
        Error::new("find the kernel's BTF", format!("{path}: {error}"))
            .remedy("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' are")
    })
}

/// True if bpffs is mounted there.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    sys::file_system(path).is_ok_and(|magic| magic == BPF_FS_MAGIC)
}

/// Mounts bpffs at `path` unless it is there.
///
/// # Errors
/// The kernel's.
pub fn mount_bpffs(path: &Path) -> Result<(), Error> {
    if is_bpffs(path) {
        return Ok(());
    }
    sys::mount_bpffs(MOUNT_SOURCE, path).map_err(|error| {
        let remedy = format!("mount it: mount -t bpf bpf {}", path.display());
        Error::new(format!("mount bpffs on {}", path.display()), error).remedy(remedy)
    })
}

/// Unmounts a bpffs that [`mount_bpffs`] mounted, if nothing is in it.
pub(crate) fn unmount_own_bpffs(path: &Path) -> io::Result<()> {
    let ours = mounts()?.any(|mount| {
        mount.point == path && mount.file_system == "bpf" && mount.source == MOUNT_SOURCE
    });
    // The kernel's own two files do not count.
    let used = fs::read_dir(path)?
        .filter_map(Result::ok)
        .any(|entry| !entry.file_name().to_string_lossy().ends_with(".debug"));
    if ours && !used {
        sys::unmount(path)
    } else {
        Ok(())
    }
}

/// The mount point of the cgroup v2 hierarchy.
///
/// # Errors
/// None is mounted.
pub fn cgroup_root() -> Result<PathBuf, Error> {
    let tried = "find the cgroup v2 hierarchy";
    let mut mounts = mounts().context(|| tried.into())?;
    let mount = mounts.find(|mount| mount.file_system == "cgroup2");
    mount.map(|mount| mount.point).ok_or_else(|| {
        Error::new(
            tried,
            "no cgroup2 file system is mounted; sockets are reached through cgroups",
        )
        .remedy("mount it: mount -t cgroup2 none /sys/fs/cgroup")
    })
}

/// The directory of the cgroup of a process: its number, or `self`.
///
/// # Errors
/// There is no such process, or its cgroup is not below what is mounted.
pub fn cgroup_of(process: &str) -> Result<PathBuf, Error> {
    let tried = || format!("find the cgroup of process {process}");
    let root = cgroup_root()?;
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(|error| {
        Error::new(tried(), error).remedy("give the number of a process that runs")
    })?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = own.map(|own| root.join(own)).filter(|path| path.is_dir());
    path.ok_or_else(|| {
        Error::new(tried(), format!("it is not below {}", root.display()))
            .remedy("name the cgroup: --cgroup PATH")
    })
}

/// Opens a cgroup.
///
/// # Errors
/// It is not a directory of cgroup v2.
pub fn open_cgroup(path: &Path) -> Result<fs::File, Error> {
    let refuse = |why: String| {
        let root = cgroup_root().map(|root| root.display().to_string());
        let root = root.unwrap_or_else(|_| "/sys/fs/cgroup".into());
        Error::new(format!("open cgroup {}", path.display()), why)
            .remedy(format!("name a directory below {root}"))
    };
    let cgroup = fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    match sys::file_system(path) {
        Ok(CGROUP2_SUPER_MAGIC) => Ok(cgroup),
        _ => Err(refuse(
            "it is not a directory of the cgroup v2 file system".into(),
        )),
    }
}

/// The cgroups that this process can see, from the root on: the number of each, which is the inode of
/// its directory, and that.
pub(crate) fn cgroups() -> impl Iterator<Item = (u64, PathBuf)> {
    let mut waiting = Vec::from_iter(cgroup_root());
    iter::from_fn(move || {
        loop {
            let directory = waiting.pop()?;
            // One that cannot be read has been removed since.
            let Ok(metadata) = fs::metadata(&directory) else {
                continue;
            };
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(below.map(|entry| entry.path()));
            return Some((metadata.ino(), directory));
        }
    })
}

/// The directory of the cgroup with this number; `None` if it is gone.
pub(crate) fn cgroup_by_id(id: u64) -> Option<PathBuf> {
    let mut cgroups = cgroups();
    let (_, directory) = cgroups.find(|(number, _)| *number == id)?;
    Some(directory)
}

/// Inode of this thread's network namespace: its number.
pub(crate) fn network_namespace() -> Result<u64, Error> {
    let path = "/proc/thread-self/ns/net";
    fs::metadata(path)
        .map(|file| file.ino())
        .context(|| format!("read {path}"))
}

struct Mount {
    point: PathBuf,
    file_system: String,
    source: String,
}

/// Lines of mountinfo, see proc_pid_mountinfo(5).
fn mounts() -> io::Result<impl Iterator<Item = Mount>> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mounts: Vec<_> = text.lines().filter_map(parse_mount).collect();
    Ok(mounts.into_iter())
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    Some(Mount {
        point: left.split(' ').nth(4)?.replace("\\040", " ").into(),
        file_system: right.next()?.into(),
        source: right.next()?.into(),
    })
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_reads() {
        let line = "36 35 98:0 / /mnt/a\\040b rw,noatime shared:1 - cgroup2 cgroup2 rw,nsdelegate";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt/a b"));
        assert_eq!(
            (mount.file_system.as_str(), mount.source.as_str()),
            ("cgroup2", "cgroup2")
        );
        assert!(parse_mount("36 35 98:0").is_none());
    }

    #[test]
    fn effective_capabilities_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), 0x1ff_ffff_ffff);
        assert_eq!(effective_capabilities(""), 0);
    }
}
