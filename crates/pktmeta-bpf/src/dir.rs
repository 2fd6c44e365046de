//! Directories that root can trust: nobody else can add, move or replace a name in them.
//!
//! A walk goes step by step, by descriptors, and follows no symbolic link of others. Each step
//! opens one name with `O_NOFOLLOW` and looks at the owner and the mode of what it opened; openat2
//! with `RESOLVE_NO_SYMLINKS` would leave the same steps to do, since it does not look at owners.

use crate::{
    error::{Context, Error, ErrorKind, Shown},
    sys,
};
use libbpf_rs::MapHandle;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path, PathBuf},
};

/// A directory that belongs to root or to this process' user, and in which nobody else can replace
/// the entries of these two.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    /// True if others may add names here, as in `/tmp`: then the owner of each entry is checked.
    shared: bool,
}

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

    fn new(fd: OwnedFd, path: PathBuf) -> Result<Self, Error> {
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

    /// Pins a BPF object.
    pub(crate) fn pin(&self, object: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
        sys::pin(object, self.fd.as_fd(), name)
            .context(|| format!("pin {}", self.path_of(name).shown()))
    }

    /// Opens a pinned BPF object, if it is there.
    pub(crate) fn open_pin(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        if !self.has_pin(name)? {
            return Ok(None);
        }
        match sys::open_pin(self.fd.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened
                .context(|| format!("open {}", self.path_of(name).shown()))
                .map(Some),
        }
    }

    /// Opens a pinned map that has to be there.
    pub(crate) fn open_map(&self, name: &str) -> Result<MapHandle, Error> {
        let tried = || format!("open the map {}", self.path_of(name).shown());
        if !self.has_pin(name)? {
            let remedy = "somebody removed it: run `pktmeta down`, then `pktmeta up`";
            return Err(
                Error::new(ErrorKind::NotFound, tried(), "it is not there").with_remedy(remedy)
            );
        }
        MapHandle::from_pinned_path(self.path_by_fd(name)).context(tried)
    }

    /// True if there is a pin that may be opened.
    fn has_pin(&self, name: &str) -> Result<bool, Error> {
        let Some(stat) = self.stat(name)? else {
            return Ok(false);
        };
        let path = self.path_of(name);
        // The kernel follows a symbolic link in the place of a pin (bpf_obj_do_get).
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_ours(&path, "it is no pin"));
        }
        if self.shared && !is_ours(&stat) {
            return Err(untrusted(&path, Owner(stat.st_uid)));
        }
        Ok(true)
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

    fn stat(&self, name: &str) -> Result<Option<Stat>, Error> {
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

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// `rwxr-xr-x`
const PASSABLE: Mode = Mode::from_raw_mode(0o755);

/// True if root or this process' user owns it.
pub(crate) fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// A user whom messages name.
pub(crate) struct Owner(pub(crate) u32);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match sys::user_name(self.0) {
            Some(name) => write!(f, "user {} ({name})", self.0),
            None => write!(f, "user {}", self.0),
        }
    }
}

/// The error for an entry that another user made.
pub(crate) fn untrusted(path: &Path, owner: Owner) -> Error {
    let tried = format!("trust {}", path.shown());
    let why = format!("it belongs to {owner}, who could lead this command elsewhere");
    Error::new(ErrorKind::Unusable, tried, why).with_remedy(format!(
        "look at it and remove it (`rm -r {}`), or name another bpffs with --bpffs; one of mode \
         755 keeps others from making names in it",
        path.shown()
    ))
}

fn not_ours(path: &Path, why: &str) -> Error {
    let remedy = format!("look at it and remove it: rm {}", path.shown());
    Error::new(ErrorKind::Unusable, format!("use {}", path.shown()), why).with_remedy(remedy)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, symlink},
        sync::atomic::{AtomicU32, Ordering},
    };

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("pktmeta-dir-{}-{next}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn dir(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const NOBODY: u32 = 65534;

    #[test]
    fn a_directory_of_another_user_is_refused_by_its_owner_and_with_a_remedy() {
        let scratch = Scratch::new();
        let theirs = scratch.dir("theirs", 0o755);
        chown(&theirs, Some(NOBODY), None).unwrap();
        let below = theirs.join("below");
        fs::create_dir(&below).unwrap();
        let parent = Dir::walk(&scratch.0).unwrap();
        let errors = [
            Dir::walk(&theirs).unwrap_err(),
            Dir::walk(&below).unwrap_err(),
            parent.open("theirs").unwrap_err(),
            parent.create("theirs").unwrap_err(),
        ];
        for error in errors.map(|error| format!("{error:?}")) {
            assert!(error.contains("user 65534"), "{error}");
            assert!(error.contains("rm -r"), "{error}");
        }
    }

    #[test]
    fn a_directory_that_others_may_change_is_refused_unless_it_is_sticky() {
        let scratch = Scratch::new();
        for (name, mode, trusted) in [
            ("open", 0o777, false),
            ("group", 0o775, false),
            ("sticky", 0o1777, true),
            ("private", 0o700, true),
        ] {
            let walked = Dir::walk(&scratch.dir(name, mode));
            assert_eq!(walked.is_ok(), trusted, "{name}: {walked:?}");
        }
    }

    #[test]
    fn a_link_of_another_user_is_not_followed_and_one_of_root_is() {
        let scratch = Scratch::new();
        let target = scratch.dir("target", 0o755);
        let sticky = scratch.dir("sticky", 0o1777);
        symlink(&target, sticky.join("ours")).unwrap();
        symlink("../sticky/../target", sticky.join("relative")).unwrap();
        symlink(&target, sticky.join("theirs")).unwrap();
        std::os::unix::fs::lchown(sticky.join("theirs"), Some(NOBODY), None).unwrap();
        for name in ["ours", "relative"] {
            assert_eq!(Dir::walk(&sticky.join(name)).unwrap().path(), target);
        }
        let error = format!("{:?}", Dir::walk(&sticky.join("theirs")).unwrap_err());
        assert!(error.contains("user 65534"), "{error}");
    }

    #[test]
    fn a_circle_of_links_ends() {
        let scratch = Scratch::new();
        symlink("b", scratch.0.join("a")).unwrap();
        symlink("a", scratch.0.join("b")).unwrap();
        let error = format!("{:?}", Dir::walk(&scratch.0.join("a")).unwrap_err());
        assert!(error.contains("symbolic links"), "{error}");
    }

    #[test]
    fn links_fifos_and_files_in_the_place_of_directories_and_pins_are_refused() {
        let scratch = Scratch::new();
        symlink("/etc", scratch.0.join("link")).unwrap();
        let fifo = rustix::fs::mknodat(
            CWD,
            scratch.0.join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        );
        fifo.unwrap();
        let dir = Dir::walk(&scratch.0).unwrap();
        for name in ["link", "fifo"] {
            for error in [
                dir.open(name).unwrap_err(),
                dir.create(name).unwrap_err(),
                dir.open_pin(name).unwrap_err(),
            ] {
                assert!(error.why().contains("it is no "), "{name}: {error:?}");
            }
        }
        assert!(dir.open("nothing").unwrap().is_none());
        assert!(dir.open_pin("nothing").unwrap().is_none());
    }

    #[test]
    fn a_text_is_there_whole_and_stays_as_it_was_first_written() {
        let scratch = Scratch::new();
        let dir = Dir::walk(&scratch.0).unwrap();
        assert_eq!(dir.read_text("layout").unwrap(), None);
        dir.write_text("layout", "1 (0.1.0)").unwrap();
        dir.write_text("layout", "2").unwrap();
        assert_eq!(dir.read_text("layout").unwrap().unwrap(), "1 (0.1.0)");
        dir.unlink("layout").unwrap();
        dir.unlink("layout").unwrap();
    }
}
