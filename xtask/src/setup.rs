//! Installs what is missing on the machine.
//!
//! Needs are looked for where they are used, in the path and by the C compiler, and not in a
//! package database: a machine that has them from elsewhere is left alone.

mod apt;
mod probe;

use std::process::Command;

use crate::error::{Error, Result};
use crate::tool;
use pktmeta_build::TESTED;
use probe::Sign;

/// Something the machine must have.
#[derive(Debug, PartialEq)]
struct Need {
    what: &'static str,
    sign: Sign,
    package: Package,
}

/// What brings it on Debian.
#[derive(Debug, PartialEq)]
enum Package {
    Named(&'static str),
    Clang,
    OldClang,
}

/// To build the workspace and to run the demo.
const BUILD: [Need; 8] = [
    program("cc", "gcc"),
    header("stdio.h", "libc6-dev"),
    program("make", "make"),
    program("pkg-config", "pkg-config"),
    header("libelf.h", "libelf-dev"),
    header("zlib.h", "zlib1g-dev"),
    Need {
        what: "clang 14 or newer",
        sign: Sign::Clang,
        package: Package::Clang,
    },
    program("python3", "python3"),
];

/// What tests and benchmarks need on top.
const TEST: [Need; 17] = [
    Need {
        what: "an older clang, of those that tests compile with",
        sign: Sign::OldClang,
        package: Package::OldClang,
    },
    header("bpf/libbpf.h", "libbpf-dev"),
    program("ip", "iproute2"),
    program("nft", "nftables"),
    program("bpftool", "bpftool"),
    program("xdp-loader", "xdp-tools"),
    program("tshark", "tshark"),
    program("iperf3", "iperf3"),
    program("tcpdump", "tcpdump"),
    program("curl", "curl"),
    program("nginx", "nginx-light"),
    program("haproxy", "haproxy"),
    program("unbound", "unbound"),
    program("strace", "strace"),
    program("go", "golang-go"),
    Need {
        what: "cilium/ebpf for Go",
        sign: Sign::File("/usr/share/gocode/src/github.com/cilium/ebpf"),
        package: Package::Named("golang-github-cilium-ebpf-dev"),
    },
    program("mypy", "mypy"),
];

/// What checks need on top.
const CHECK: [Need; 2] = [
    program("go", "golang-go"),
    Need {
        what: "venv of Python",
        sign: Sign::Module("ensurepip"),
        package: Package::Named("python3-venv"),
    },
];

const fn program(name: &'static str, package: &'static str) -> Need {
    Need {
        what: name,
        sign: Sign::Program(name),
        package: Package::Named(package),
    }
}

const fn header(name: &'static str, package: &'static str) -> Need {
    Need {
        what: name,
        sign: Sign::Header(name),
        package: Package::Named(package),
    }
}

/// What `setup` alone does: all that any command needs.
pub(crate) fn everything() -> Result {
    provide(&[&BUILD, &CHECK, &TEST])?;
    eprintln!("everything needed is there");
    Ok(())
}

/// Ready to build the workspace and to run the demo.
pub(crate) fn to_build() -> Result {
    provide(&[&BUILD])
}

/// Ready to check what is no test.
pub(crate) fn to_check() -> Result {
    provide(&[&BUILD, &CHECK])?;
    components()
}

/// Ready to run tests and benchmarks too.
pub(crate) fn to_test() -> Result {
    provide(&[&BUILD, &TEST])
}

/// Ready to make a Debian in a folder.
pub(crate) fn to_bootstrap() -> Result {
    provide(&[&BUILD, &TEST, &[program("mmdebstrap", "mmdebstrap")]])
}

/// Installs what is missing of `needs`, and looks again.
fn provide(needs: &[&[Need]]) -> Result {
    probe::usable_override()?;
    let missing = missing(needs, Sign::is_seen);
    if missing.is_empty() {
        return Ok(());
    }
    apt::usable().map_err(|why| advice(&missing, why))?;
    eprintln!("missing: {}", names(&missing));
    apt::update()?;
    apt::install(&packages(&missing, apt::knows))?;
    let still = self::missing(needs, Sign::is_seen);
    if still.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "apt-get installed its packages, but these are still not found: {}\n\
             Programs are looked for in PATH, headers by cc. Install them by hand.",
            names(&still)
        )))
    }
}

fn missing<'a>(needs: &[&'a [Need]], is_seen: impl Fn(&Sign) -> bool) -> Vec<&'a Need> {
    let needs = needs.iter().copied().flatten();
    needs.filter(|need| !is_seen(&need.sign)).collect()
}

/// The packages to install, given which ones apt knows.
fn packages(missing: &[&Need], apt_knows: impl Fn(&str) -> bool) -> Vec<&'static str> {
    // Those that the headers and programs are written for. Without a number Debian's may be
    // another, but is new enough.
    let [older @ .., newest] = TESTED;
    let known = |clangs: &[&'static str]| {
        let known = clangs.iter().find(|clang| apt_knows(clang));
        known.copied().unwrap_or("clang")
    };
    let package = |need: &&Need| match need.package {
        Package::Named(name) => name,
        Package::Clang => known(&[newest]),
        Package::OldClang => known(&older),
    };
    missing.iter().map(package).collect()
}

fn names(needs: &[&Need]) -> String {
    let names: Vec<_> = needs.iter().map(|need| need.what).collect();
    names.join(", ")
}

/// What a person can do where this program cannot.
fn advice(missing: &[&Need], why: &str) -> Error {
    Error::new(format!(
        "cannot install what is missing ({}): {why}\n\
         On Debian and Ubuntu, as root: apt-get install --no-install-recommends {}\n\
         Elsewhere: install the same by the names it has there, then run this command again.",
        names(missing),
        packages(missing, |_| false).join(" "),
    ))
}

/// Ready to format and lint.
fn components() -> Result {
    let has = |component| tool::succeeds(tool::cargo().args([component, "--version"]));
    if has("fmt") && has("clippy") {
        return Ok(());
    }
    eprintln!("installing with rustup: rustfmt clippy");
    let mut rustup = Command::new("rustup");
    tool::run(rustup.args(["component", "add", "rustfmt", "clippy"])).map_err(|error| {
        Error::new(format!(
            "{error}\nInstall rustfmt and clippy in the way your Rust was installed."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything_missing() -> Vec<&'static Need> {
        missing(&[&BUILD, &TEST], |_| false)
    }

    #[test]
    fn only_what_is_not_seen_is_missing() {
        let seen = |sign: &Sign| !matches!(sign, Sign::Header("libelf.h") | Sign::Clang);
        let missing = missing(&[&BUILD], seen);
        assert_eq!(names(&missing), "libelf.h, clang 14 or newer");
        assert_eq!(packages(&missing, |_| true), ["libelf-dev", "clang-22"]);
    }

    #[test]
    fn a_clang_without_number_is_taken_where_apt_has_no_other() {
        let clang = missing(&[&BUILD], |sign| *sign != Sign::Clang);
        assert_eq!(packages(&clang, |_| false), ["clang"]);
        assert_eq!(packages(&clang, |name| name == "clang-22"), ["clang-22"]);
    }

    #[test]
    fn the_oldest_clang_that_apt_has_is_there_for_tests() {
        let clang = missing(&[&TEST], |sign| *sign != Sign::OldClang);
        assert_eq!(packages(&clang, |_| true), ["clang-14"]);
        assert_eq!(packages(&clang, |name| name == "clang-19"), ["clang-19"]);
        assert_eq!(packages(&clang, |_| false), ["clang"]);
    }

    #[test]
    fn the_oldest_clang_that_is_named_is_the_oldest_that_is_taken() {
        let oldest = pktmeta_build::CLANG.start();
        assert_eq!(BUILD[6].what, format!("clang {oldest} or newer"));
        assert_eq!(TESTED[0], format!("clang-{oldest}"));
    }

    #[test]
    fn a_bare_machine_gets_everything() {
        let packages = packages(&everything_missing(), |_| true);
        assert_eq!(
            packages.join(" "),
            "gcc libc6-dev make pkg-config libelf-dev zlib1g-dev clang-22 python3 \
             clang-14 libbpf-dev iproute2 nftables bpftool xdp-tools tshark iperf3 tcpdump curl \
             nginx-light haproxy unbound strace golang-go \
             golang-github-cilium-ebpf-dev mypy"
        );
    }

    #[test]
    fn the_first_page_of_the_guide_names_what_the_command_is_built_with() {
        let page = include_str!("../../docs/guide/README.md");
        let build = missing(&[&BUILD], |_| false);
        let line = format!("    {}\n", packages(&build, |_| false).join(" "));
        assert!(page.contains(&line), "no {line:?}");
    }

    #[test]
    fn the_advice_names_reason_and_packages() {
        let advice = advice(&everything_missing(), "only root may").to_string();
        assert!(advice.contains("only root may"), "{advice}");
        assert!(advice.contains("libelf-dev zlib1g-dev clang "), "{advice}");
    }
}
