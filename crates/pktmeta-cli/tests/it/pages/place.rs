//! Where a page's reader is: a shell in a checkout, on this host or on a bare one.

use crate::command::{PKTMETA, Scratch, text};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What is said instead of the tools that install and build: on this host that was done before.
const DONE_BEFORE: &str = concat!(
    r#"
apt-get() { :; }
cargo() {
    case "$*" in
    "xtask demo"*) pktmeta "${@:2}" ;;
    "xtask setup" | "install "* | "build "* | "run "*) ;;
    *) echo "not on this host: cargo $*"; false ;;
    esac
}
clang() { "#,
    env!("PKTMETA_CLANG"),
    r#" "$@"; }
export -f apt-get cargo clang
"#
);

/// The tree of cgroups begins with the caller's: what is attached to its root is attached to nobody
/// else.
const CGROUPS: &str =
    "umount --recursive --lazy /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ";

/// The folder of the checkout.
const CHECKOUT: &str = "pktmeta";

/// The page that says how to install.
const README: &str = "README.md";

/// Names the folder in which `cargo xtask docs` has made a bare Debian, `root`.
const BARE: &str = "PKTMETA_BARE";

/// Becomes a shell in a bare Debian, in which a script, `$0`, is run. What it writes stays in
/// folder `$1`, above the folders `$2`. The checkout is copied from `$3`, packages are kept in
/// `$4`. Rust and the crates are this host's, and `apt-get` goes to the network of the process
/// `PKTMETA_OUTSIDE`, since the sandbox has none. Packages are downloaded once for all pages, and
/// start no daemons. Folders look old, so that cargo builds only what changed.
const ENTER_BARE: &str = r#"
rm -rf "$1"; mkdir -p "$1"/{upper,work,root}
mount -t overlay overlay -o lowerdir="$2",upperdir="$1"/upper,workdir="$1"/work "$1"/root
cd "$1"/root
for folder in proc sys dev; do mount --rbind /$folder $folder; done
mkdir -p root/.rustup root/.cargo/registry root/pktmeta opt/rust "$4"
mount --bind "$4" var/cache/apt/archives
printf '#!/bin/sh\nexit 101\n' > usr/sbin/policy-rc.d
mount --bind "${RUSTUP_HOME:-$HOME/.rustup}" root/.rustup
mount --bind "${CARGO_HOME:-$HOME/.cargo}"/registry root/.cargo/registry
mount --bind "${CARGO_HOME:-$HOME/.cargo}"/bin opt/rust
find root/pktmeta -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
cp --recursive --preserve=timestamps "$3"/. root/pktmeta
find root/pktmeta -name target -prune -o -type d -exec touch --date=@0 {} +
cp --dereference --remove-destination /etc/resolv.conf etc/resolv.conf
printf '#!/bin/sh\nexec nsenter --net=/proc/%s/ns/net /usr/bin/apt-get "$@"\n' \
    $PKTMETA_OUTSIDE > usr/local/sbin/apt-get
chmod +x usr/local/sbin/apt-get usr/sbin/policy-rc.d
path=/root/.cargo/bin:/opt/rust:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec env --ignore-environment HOME=/root PATH=$path CARGO_NET_OFFLINE=true PYTHONUNBUFFERED=1 \
    chroot . /bin/bash -c "$0"
"#;

/// A checkout in a folder of its own, in which the page may write.
pub(super) struct Place {
    scratch: Scratch,
    page: String,
    /// The folder of the checkout in which the page's reader is.
    folder: PathBuf,
}

/// What a script printed, and whether it ended well.
pub(super) struct Ran {
    pub(super) output: String,
    pub(super) succeeded: bool,
}

impl Place {
    pub(super) fn new(page: &str) -> Self {
        let scratch = Scratch::new();
        let checkout = scratch.path().join(CHECKOUT);
        fs::create_dir(&checkout).unwrap();
        // What was removed and is still in the index is passed over.
        let copy = "git ls-files -z --cached --others --exclude-standard \
                    | tar --create --null --files-from=- --ignore-failed-read 2> /dev/null \
                    | tar --extract --directory \"$0\"";
        let mut copying = Command::new("bash");
        copying.args(["-ec", copy]).arg(&checkout);
        let copied = copying.current_dir(REPOSITORY).status();
        assert!(copied.unwrap().success());
        // The guide is read in the book, not in a folder.
        let folder = match page.starts_with("docs/") {
            true => PathBuf::new(),
            false => Path::new(page).parent().unwrap().to_owned(),
        };
        let page = page.into();
        Self {
            scratch,
            page,
            folder,
        }
    }

    /// What the page says.
    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.scratch.path().join(CHECKOUT).join(&self.page)).unwrap()
    }

    /// Puts a file where the reader is.
    pub(super) fn file(&self, name: &str, contents: &str) {
        let folder = self.scratch.path().join(CHECKOUT).join(&self.folder);
        fs::write(folder.join(name), contents).unwrap();
    }

    /// Runs a script with bash, in a tree of cgroups that begins with the sandbox's, after the
    /// commands that make its network.
    pub(super) fn run(&self, network: &str, script: &str) -> Ran {
        let mut bash = Command::new("unshare");
        bash.args(["--mount", "--cgroup", "bash", "-ec"]);
        // As on a terminal: what a program and its children print stays in order.
        bash.env("PYTHONUNBUFFERED", "1");
        // No pipe: what the page leaves running would hold it open.
        let output = match env::var_os(BARE).map(PathBuf::from) {
            None => {
                self.enter_host(&mut bash, network, script);
                self.scratch.path().join("output")
            }
            Some(bare) => {
                self.enter_bare(&mut bash, &bare, network, script);
                // For those who wait.
                bare.join(self.own_name() + ".log")
            }
        };
        bash.stdin(Stdio::null())
            .stdout(File::create(&output).unwrap());
        let status = bash.status().unwrap();
        let output = fs::read(&output).unwrap();
        Ran {
            output: String::from_utf8_lossy(&output).into_owned(),
            succeeded: status.success(),
        }
    }

    fn enter_host(&self, bash: &mut Command, network: &str, script: &str) {
        bash.arg(format!("{network}\n{CGROUPS}exec bash -c \"$0\""));
        bash.arg(format!("exec 2>&1\n{DONE_BEFORE}\n{script}"));
        let own = Path::new(PKTMETA).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap();
        let path = env::join_paths([own].into_iter().chain(env::split_paths(&path))).unwrap();
        bash.env("PATH", path).env("TMPDIR", self.scratch.path());
        // A reader is in no sandbox.
        bash.env_remove("PKTMETA_SANDBOX");
        bash.current_dir(self.scratch.path().join(CHECKOUT).join(&self.folder));
    }

    /// README's reader begins with the bare root, and readers of other pages have done what README
    /// says.
    fn enter_bare(&self, bash: &mut Command, bare: &Path, network: &str, script: &str) {
        let mut below = vec![bare.join("root")];
        if self.page != README {
            below.insert(0, bare.join(name_of(README)).join("upper"));
        }
        let below: Vec<_> = below.iter().map(text).collect();
        bash.arg(format!("{network}\n{CGROUPS}{ENTER_BARE}"));
        bash.arg(format!(
            "exec 2>&1\ncd /root/{CHECKOUT}\ncd ./{}\n{script}",
            text(&self.folder)
        ));
        bash.arg(bare.join(self.own_name())).arg(below.join(":"));
        bash.arg(self.scratch.path().join(CHECKOUT));
        bash.arg(bare.join("packages"));
    }

    fn own_name(&self) -> String {
        name_of(&self.page)
    }
}

/// The name of a page's folder beside the bare root.
fn name_of(page: &str) -> String {
    page.replace('/', "-")
}
