//! Mounts, bpffs among them.

use super::directory;
use crate::error::{Error, ErrorKind, Shown};
use rustix::fs::{AtFlags, CWD, FsWord, StatxFlags};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Linux's `BPF_FS_MAGIC`.
pub(crate) const BPF_FS_MAGIC: FsWord = 0xcafe_4a11;

/// True if bpffs is mounted there.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == BPF_FS_MAGIC)
}

/// Checks that mounts of this process outlive it: that another process lives in its mount
/// namespace. `ip netns exec` makes a namespace for the one command that it runs.
pub(crate) fn check_mounts_last(path: &Path) -> Result<(), Error> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace("self");
    let own_pid = std::process::id().to_string();
    let mut others = directory::names("/proc").filter_map(|name| name.into_string().ok());
    let lives_on = others.any(|pid| {
        let is_process = pid.bytes().all(|byte| byte.is_ascii_digit());
        is_process && pid != own_pid && namespace(&pid) == own
    });
    // The parent then lives in another namespace, if its namespace can be seen.
    let parent = std::os::unix::process::parent_id().to_string();
    if lives_on || own.is_none() || namespace(&parent).is_none() {
        return Ok(());
    }
    let why = "only this command lives in its mount namespace, as under `ip netns exec`: the mount \
               and all pins would go when it ends";
    let remedy = format!(
        "run `nsenter --net=/run/netns/NAME pktmeta ...` instead of `ip netns exec`, or run `mount \
         -t bpf -o mode=755 bpf {}` before",
        path.shown()
    );
    Err(Error::new(ErrorKind::Unusable, "mount", why).with_remedy(remedy))
}

/// A line of mountinfo.
pub(crate) struct Mount {
    /// The kernel's number of it.
    id: u64,
    pub(crate) point: PathBuf,
    pub(crate) file_system: String,
}

impl Mount {
    /// True if its path leads to it: false where another mount is on top, on it or on a directory
    /// above.
    pub(crate) fn is_reached(&self) -> bool {
        let flags = AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(CWD, &self.point, flags, StatxFlags::MNT_ID)
            .is_ok_and(|found| found.stx_mnt_id == self.id)
    }
}

/// Lines of mountinfo, see proc_pid_mountinfo(5).
pub(crate) fn mounts() -> io::Result<Vec<Mount>> {
    let bytes = fs::read("/proc/thread-self/mountinfo")?;
    Ok(bytes
        .split(|&byte| byte == b'\n')
        .filter_map(parse_mount)
        .collect())
}

/// Paths are bytes, of any encoding or none.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    Some(Mount {
        id: text(0)?.parse().ok()?,
        point: OsString::from_vec(unescape(fields.get(4)?)).into(),
        file_system: text(dash + 1)?,
    })
}

/// Turns `\040` and the like into the bytes that they stand for.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, behind.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_line_of_mountinfo_reads() {
        let line = b"36 35 98:0 / /mnt/a\\040b\xff rw,noatime shared:1 - cgroup2 cgroup2 rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.id, 36);
        assert_eq!(mount.point.as_os_str().as_bytes(), b"/mnt/a b\xff");
        assert_eq!(mount.file_system, "cgroup2");
        assert!(parse_mount(b"36 35 98:0").is_none());
    }
}
