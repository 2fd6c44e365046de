//! The walk to a directory: step by step, by descriptors, following no symbolic link of others.
//!
//! Each step opens one name with `O_NOFOLLOW`, and checks the owner and the mode of what it opened.
//! openat2 with `RESOLVE_NO_SYMLINKS` would leave the same steps to do, since it does not check
//! owners.

use super::{
    directory::{DIRECTORY, Dir},
    trust::{Owner, is_ours, untrusted},
};
use crate::error::{Context, Error, ErrorKind, Shown};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode},
    io::Errno,
};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

impl Dir {
    /// The directory at `path`, if each one on the way can be trusted.
    pub(crate) fn walk(path: &Path) -> Result<Self, Error> {
        let tried = || format!("walk to {}", path.shown());
        let absolute = std::path::absolute(path).context(tried)?;
        let mut ahead: VecDeque<OsString> = components(&absolute);
        let mut way = vec![Self::root()?];
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            let Some(last) = way.last() else { break };
            if name == ".." {
                // Above the root is the root.
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            match last.link(&name)? {
                None => {
                    let next = last.open_on_the_way(&name)?;
                    way.push(next);
                }
                Some(_) if links == Self::LINKS => {
                    return Err(Error::new(
                        ErrorKind::Unusable,
                        tried(),
                        io::Error::from(Errno::LOOP),
                    ));
                }
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        way.truncate(1);
                    }
                    for name in components(&target).into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
            }
        }
        way.pop()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, tried(), "there is no root directory"))
    }

    /// As many symbolic links as Linux follows on one path (`MAXSYMLINKS`).
    const LINKS: usize = 40;

    fn root() -> Result<Self, Error> {
        let fd = rustix::fs::openat(CWD, "/", DIRECTORY, Mode::empty()).context(|| "open /".into());
        Self::new(fd?, "/".into())
    }

    /// Where a symbolic link leads; `None` if the name is something else.
    fn link(&self, name: &OsStr) -> Result<Option<PathBuf>, Error> {
        let path = self.path.join(name);
        let tried = || format!("find {}", path.shown());
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).context(tried)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        if self.shared && !is_ours(&stat) {
            return Err(untrusted(&path, Owner(stat.st_uid)));
        }
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new()).context(tried)?;
        Ok(Some(OsString::from_vec(target.into_bytes()).into()))
    }

    fn open_on_the_way(&self, name: &OsStr) -> Result<Self, Error> {
        let path = self.path.join(name);
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty())
            .context(|| format!("open {}", path.shown()))?;
        Self::new(fd, path)
    }
}

/// The names on the way to a path.
fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}
