use super::Dir;
use rustix::fs::{CWD, FileType, Mode};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::PathBuf,
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
