//! A trusted directory, and the entries in it.

use super::trust::{Owner, is_ours, not_ours, untrusted};
use crate::error::{Context, Error, ErrorKind, Shown};
use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    ffi::OsString,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

/// A directory that belongs to root or to this process' user, and in which nobody else can replace
/// the entries of these two.
#[derive(Debug)]
pub(crate) struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    /// True if others may add names here, as in `/tmp`: then the owner of each entry is checked.
    pub(super) shared: bool,
}

impl Dir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Result<Self, Error> {
        let stat = rustix::fs::fstat(&fd).context(|| format!("look at {}", path.shown()))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let shared = mode.intersects(Mode::WGRP | Mode::WOTH);
        if !is_ours(&stat) {
            return Err(untrusted(&path, Owner(stat.st_uid)));
        }
        if shared && !mode.contains(Mode::SVTX) {
            let tried = format!("trust the directory {}", path.shown());
            let why = "others may replace what is in it";
            let remedy = format!("`chmod go-w {}` ends that", path.shown());
            return Err(Error::new(ErrorKind::Unusable, tried, why).with_remedy(remedy));
        }
        Ok(Self { fd, path, shared })
    }

    /// Its path in messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry in messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path to an entry, by way of the descriptor, for libbpf, which takes no descriptors.
    pub(crate) fn path_by_fd(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()).into()
    }

    /// The directory called `name` in this one, if it is there.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Self>, Error> {
        let path = self.path_of(name);
        match rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Self::new(fd, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(not_ours(&path, "it is no directory")),
            Err(error) => Err(error).context(|| format!("open {}", path.shown())),
        }
    }

    /// As [`Dir::open`], and makes it if it is not there. All may pass: owners of cgroups open
    /// their rings.
    pub(crate) fn create(&self, name: &str) -> Result<Self, Error> {
        let path = self.path_of(name);
        let tried = || format!("create {}", path.shown());
        match rustix::fs::mkdirat(&self.fd, name, PASSABLE) {
            Ok(()) => {
                // The process' umask may have taken something away.
                let made = self.open(name)?;
                let made =
                    made.ok_or_else(|| Error::new(ErrorKind::NotFound, tried(), "it went away"))?;
                rustix::fs::chmodat(&made.fd, ".", PASSABLE, AtFlags::empty()).context(tried)?;
                Ok(made)
            }
            Err(Errno::EXIST) => {
                let there = self.open(name)?;
                there.ok_or_else(|| Error::new(ErrorKind::NotFound, tried(), "it went away"))
            }
            Err(error) => Err(error).context(tried),
        }
    }

    /// The names of its entries, in order.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, Error> {
        let tried = || format!("read {}", self.path.shown());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(&self.fd, ".", flags, Mode::empty()).context(tried)?;
        let entries = rustix::fs::Dir::new(readable).context(tried)?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.context(tried)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// True if something is called so.
    pub(crate) fn has(&self, name: &str) -> Result<bool, Error> {
        Ok(self.stat(name)?.is_some())
    }

    /// Moves an entry to another directory of the same file system.
    pub(crate) fn rename(&self, name: &str, to: &Self) -> Result<(), Error> {
        rustix::fs::renameat(&self.fd, name, &to.fd, name).context(|| {
            let (from, to) = (self.path_of(name), to.path_of(name));
            format!("rename {} to {}", from.shown(), to.shown())
        })
    }

    /// Gives an entry the name of another, which goes at the same moment if it is there.
    pub(crate) fn replace(&self, name: &str, other: &str) -> Result<(), Error> {
        rustix::fs::renameat(&self.fd, name, &self.fd, other).context(|| {
            let (from, to) = (self.path_of(name), self.path_of(other));
            format!("rename {} to {}", from.shown(), to.shown())
        })
    }

    /// Removes an entry that is no directory; it may be gone already.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), Error> {
        self.remove(name, AtFlags::empty()).map(drop)
    }

    /// Removes a directory if it is empty; false if it is not. It may be gone already.
    pub(crate) fn remove_dir(&self, name: &str) -> Result<bool, Error> {
        self.remove(name, AtFlags::REMOVEDIR)
    }

    fn remove(&self, name: &str, flags: AtFlags) -> Result<bool, Error> {
        match rustix::fs::unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(error) => Err(error).context(|| format!("remove {}", self.path_of(name).shown())),
        }
    }

    /// The text that [`Dir::write_text`] wrote.
    pub(crate) fn read_text(&self, name: &str) -> Result<Option<String>, Error> {
        match rustix::fs::readlinkat(&self.fd, name, Vec::new()) {
            Ok(text) => Ok(Some(text.to_string_lossy().into_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::INVAL) => Err(not_ours(&self.path_of(name), "it is no symbolic link")),
            Err(error) => Err(error).context(|| format!("read {}", self.path_of(name).shown())),
        }
    }

    /// Writes a short text as the target of a symbolic link, because bpffs has no files. The link
    /// appears with its whole text or not at all, and nobody follows it.
    pub(crate) fn write_text(&self, name: &str, text: &str) -> Result<(), Error> {
        match rustix::fs::symlinkat(text, &self.fd, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error).context(|| format!("write {}", self.path_of(name).shown())),
        }
    }

    pub(super) fn stat(&self, name: &str) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context(|| format!("look at {}", self.path_of(name).shown())),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(super) const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// `rwxr-xr-x`
const PASSABLE: Mode = Mode::from_raw_mode(0o755);
