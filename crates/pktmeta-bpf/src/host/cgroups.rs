//! Cgroups (v2): their root, their numbers, and those of processes.

use super::{
    found::Found,
    mounts::{Mount, mounts},
};
use crate::error::{Context, Error, ErrorKind, Shown};
use rustix::fs::FsWord;
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Linux's `CGROUP2_SUPER_MAGIC`.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// Inode of the root of the cgroup v2 hierarchy. In a cgroup namespace another directory is the
/// root, with a number of its own.
const CGROUP_ROOT: u64 = 1;

/// The mount point of the cgroup v2 hierarchy.
///
/// # Errors
/// None is mounted, or something else is mounted over each.
pub fn cgroup_root() -> Result<PathBuf, Error> {
    let tried = "find the cgroup v2 hierarchy";
    let missing = |why: &str, remedy: &str| {
        let why = format!("{why}; sockets are reached through cgroups");
        Error::new(ErrorKind::Unsupported, tried, why).with_remedy(remedy)
    };
    let mut mounts = mounts().context(|| tried.into())?;
    mounts.retain(|mount| mount.file_system == "cgroup2");
    let Some(covered) = mounts.last().map(|mount| mount.point.shown()) else {
        return Err(missing(
            "no cgroup2 file system is mounted",
            "mount it: mount -t cgroup2 none /sys/fs/cgroup",
        ));
    };
    mounts.retain(Mount::is_reached);
    // The whole hierarchy, if it is there, before a part that is mounted elsewhere.
    let is_root =
        |mount: &Mount| fs::metadata(&mount.point).is_ok_and(|it| it.ino() == CGROUP_ROOT);
    let at = mounts.iter().position(is_root).unwrap_or(0);
    let root = mounts.into_iter().nth(at).map(|mount| mount.point);
    root.ok_or_else(|| {
        missing(
            &format!("something else is mounted over the cgroup2 file system at {covered}"),
            "mount it elsewhere: mkdir /run/cgroup2 && mount -t cgroup2 none /run/cgroup2",
        )
    })
}

/// The directory of the cgroup of a process: its number, or `self`.
///
/// # Errors
/// There is no such process, or its cgroup is not below what is mounted.
pub fn cgroup_of(process: &str) -> Result<PathBuf, Error> {
    let tried = || format!("find the cgroup of process {process}");
    let root = cgroup_root()?;
    let groups = fs::read(format!("/proc/{process}/cgroup")).map_err(|error| {
        Error::new(ErrorKind::NotFound, tried(), error)
            .with_remedy("give the number of a process that runs")
    })?;
    let mut groups = groups.split(|&byte| byte == b'\n');
    let own = groups.find_map(|line| line.strip_prefix(b"0::/"));
    let path = own.map(|own| root.join(OsStr::from_bytes(own)));
    let path = path.filter(|path| path.is_dir());
    path.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            tried(),
            format!("it is not below {}", root.shown()),
        )
        .with_remedy("name the cgroup: --cgroup PATH")
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
        Error::new(
            ErrorKind::NotFound,
            format!("open cgroup {}", path.shown()),
            why,
        )
        .with_remedy(format!("name a directory below {root}"))
    };
    let cgroup = fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    match rustix::fs::fstatfs(&cgroup) {
        Ok(found) if found.f_type == CGROUP2_SUPER_MAGIC => Ok(cgroup),
        _ => Err(refuse(
            "it is not a directory of the cgroup v2 file system".into(),
        )),
    }
}

/// The kernel's number of a cgroup that is open: the inode of its directory.
pub(crate) fn cgroup_id(cgroup: &fs::File) -> Result<u64, Error> {
    let metadata = cgroup.metadata();
    Ok(metadata.context(|| "read the cgroup's id".into())?.ino())
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
                // It was removed meanwhile.
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
