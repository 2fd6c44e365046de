//! What the host must have: capabilities, BTF, bpffs, cgroup v2.

use crate::error::{Context, Error, Shown};
use rustix::{fs::FsWord, thread::LinkNameSpaceType};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

/// Where bpffs is mounted by custom.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Linux's `BPF_FS_MAGIC`.
pub(crate) const BPF_FS_MAGIC: FsWord = 0xcafe_4a11;
/// Linux's `CGROUP2_SUPER_MAGIC`.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// Inode of the root of the cgroup v2 hierarchy. In a cgroup namespace another directory is the
/// root, with a number of its own.
const CGROUP_ROOT: u64 = 1;

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
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == BPF_FS_MAGIC)
}

/// Checks that what this process mounts outlives it: that somebody else lives in its mount
/// namespace. `ip netns exec` makes one for the command that it runs.
pub(crate) fn check_mounts_last(path: &Path) -> Result<(), Error> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace("self");
    let own_pid = std::process::id().to_string();
    let mut others = names("/proc").filter_map(|name| name.into_string().ok());
    let lives_on = others.any(|pid| {
        let is_process = pid.bytes().all(|byte| byte.is_ascii_digit());
        is_process && pid != own_pid && namespace(&pid) == own
    });
    // Who started it, if one can look, lives elsewhere then.
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
    Err(Error::new("mount", why).remedy(remedy))
}

/// The mount point of the cgroup v2 hierarchy.
///
/// # Errors
/// None is mounted.
pub fn cgroup_root() -> Result<PathBuf, Error> {
    let tried = "find the cgroup v2 hierarchy";
    let mounts = mounts().context(|| tried.into())?;
    let mut mounts: Vec<_> = mounts
        .into_iter()
        .filter(|mount| mount.file_system == "cgroup2")
        .map(|mount| mount.point)
        .collect();
    // The whole hierarchy, if it is there, before a part that is mounted elsewhere.
    let is_root = |point: &PathBuf| fs::metadata(point).is_ok_and(|it| it.ino() == CGROUP_ROOT);
    let at = mounts.iter().position(is_root).unwrap_or(0);
    if mounts.is_empty() {
        return Err(Error::new(
            tried,
            "no cgroup2 file system is mounted; sockets are reached through cgroups",
        )
        .remedy("mount it: mount -t cgroup2 none /sys/fs/cgroup"));
    }
    Ok(mounts.swap_remove(at))
}

/// The directory of the cgroup of a process: its number, or `self`.
///
/// # Errors
/// There is no such process, or its cgroup is not below what is mounted.
pub fn cgroup_of(process: &str) -> Result<PathBuf, Error> {
    let tried = || format!("find the cgroup of process {process}");
    let root = cgroup_root()?;
    let groups = fs::read(format!("/proc/{process}/cgroup")).map_err(|error| {
        Error::new(tried(), error).remedy("give the number of a process that runs")
    })?;
    let mut groups = groups.split(|&byte| byte == b'\n');
    let own = groups.find_map(|line| line.strip_prefix(b"0::/"));
    let path = own.map(|own| root.join(OsStr::from_bytes(own)));
    let path = path.filter(|path| path.is_dir());
    path.ok_or_else(|| {
        Error::new(tried(), format!("it is not below {}", root.shown()))
            .remedy("name the cgroup: --cgroup PATH")
    })
}

/// Opens a cgroup.
///
/// # Errors
/// It is not a directory of cgroup v2.
pub fn open_cgroup(path: &Path) -> Result<fs::File, Error> {
    let refuse = |why: String| {
        let root = cgroup_root().map(|root| root.shown());
        let root = root.unwrap_or_else(|_| "/sys/fs/cgroup".into());
        Error::new(format!("open cgroup {}", path.shown()), why)
            .remedy(format!("name a directory below {root}"))
    };
    let cgroup = fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    match rustix::fs::fstatfs(&cgroup) {
        Ok(found) if found.f_type == CGROUP2_SUPER_MAGIC => Ok(cgroup),
        _ => Err(refuse(
            "it is not a directory of the cgroup v2 file system".into(),
        )),
    }
}

/// The cgroups that this process can see: from the root on, or below one of them.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// The directory of each, by its number, which is that directory's inode.
    pub(crate) by_id: HashMap<u64, PathBuf>,
    /// Why some may not be among them; `None` if there are no others.
    pub(crate) unseen: Option<String>,
}

impl Cgroups {
    /// All that can be seen.
    pub(crate) fn all() -> Self {
        let root = match cgroup_root() {
            Ok(root) => root,
            Err(error) => {
                return Self {
                    unseen: Some(error.line()),
                    ..Self::default()
                };
            }
        };
        let mut cgroups = Self::below(&root);
        if !cgroups.by_id.contains_key(&CGROUP_ROOT) {
            let why = "this process sees a part of the cgroups only, as in a cgroup namespace";
            cgroups.unseen.get_or_insert_with(|| why.into());
        }
        cgroups
    }

    /// This one and those below it.
    pub(crate) fn below(directory: &Path) -> Self {
        let mut cgroups = Self::default();
        let mut waiting = vec![directory.to_owned()];
        let mut device = None;
        while let Some(directory) = waiting.pop() {
            let read = || {
                let metadata = fs::metadata(&directory)?;
                if *device.get_or_insert(metadata.dev()) != metadata.dev() {
                    let why = "something else is mounted there";
                    return Err(io::Error::other(why));
                }
                cgroups.by_id.insert(metadata.ino(), directory.clone());
                for entry in fs::read_dir(&directory)? {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        waiting.push(entry.path());
                    }
                }
                Ok(())
            };
            match { read }() {
                // One that was removed meanwhile.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    let why = format!("look into {}: {error}", directory.shown());
                    cgroups.unseen.get_or_insert(why);
                }
                Ok(()) => {}
            }
        }
        cgroups
    }

    /// Where the cgroup with this number is.
    pub(crate) fn find(&self, id: u64) -> Found<PathBuf> {
        match (self.by_id.get(&id), &self.unseen) {
            (Some(path), _) => Found::There(path.clone()),
            (None, None) => Found::Gone,
            (None, Some(why)) => Found::Unknown(why.clone()),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::ENOTDIR)
    )
}

/// Whether something is there, as far as this process can see. That it cannot look does not mean
/// that nothing is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It is.
    There(T),
    /// It is not.
    Gone,
    /// One cannot look, for this reason.
    Unknown(String),
}

impl<T> Found<T> {
    /// What is there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Self::There(it) => Some(it),
            Self::Gone | Self::Unknown(_) => None,
        }
    }
}

/// What `look` finds in each network namespace that some process is in or that has a name, by the
/// namespace's number. Namespaces that cannot be entered are left out.
pub(crate) fn in_network_namespaces<T: Send>(
    look: impl Fn() -> Option<T> + Sync,
) -> BTreeMap<u64, T> {
    let processes = names("/proc").filter(|name| name.as_bytes().iter().all(u8::is_ascii_digit));
    let of_processes = processes.map(|pid| Path::new("/proc").join(pid).join("ns/net"));
    let named = names("/run/netns").map(|name| Path::new("/run/netns").join(name));
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for path in of_processes.chain(named) {
        let Ok(number) = fs::metadata(&path).map(|file| file.ino()) else {
            continue;
        };
        if !seen.insert(number) {
            continue;
        }
        let Ok(namespace) = fs::File::open(&path) else {
            continue;
        };
        // On a thread of its own, which ends there.
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                network,
            )
            .ok()?;
            look()
        };
        let it = std::thread::scope(|scope| scope.spawn(enter).join().ok().flatten());
        found.extend(it.map(|it| (number, it)));
    }
    found
}

/// What is in a directory; nothing if it cannot be read.
fn names(directory: &str) -> impl Iterator<Item = OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name())
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
}

/// Lines of mountinfo, see proc_pid_mountinfo(5).
fn mounts() -> io::Result<Vec<Mount>> {
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
        let line = b"36 35 98:0 / /mnt/a\\040b\xff rw,noatime shared:1 - cgroup2 cgroup2 rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.point.as_os_str().as_bytes(), b"/mnt/a b\xff");
        assert_eq!(mount.file_system, "cgroup2");
        assert!(parse_mount(b"36 35 98:0").is_none());
    }

    #[test]
    fn effective_capabilities_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), 0x1ff_ffff_ffff);
        assert_eq!(effective_capabilities(""), 0);
    }
}
