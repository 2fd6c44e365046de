//! Finds programs of this host that get no records on any kernel: `docs/guide/reach.md`.

use super::check::{Check, Finding};
use crate::{
    datapath::{Datapath, Delivery, Status},
    error::Shown,
    host::{self, Found},
    sockets::{SocketScope, SocketStatus},
};
use pktmeta_core::printable;
use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Looks at the processes that may be seen, the sockets of this network namespace, where the
/// datapath delivers, and which sockets are there.
pub(super) fn checks(datapath: &Datapath, status: Option<&Status>) -> Vec<Check> {
    let deliveries = status.map_or(&[][..], |status| &status.deliveries);
    let deliveries: Vec<_> = deliveries.iter().map(|status| &status.delivery).collect();
    let programs = Program::all(Path::new("/proc"));
    vec![
        narrow(&programs),
        runtimes(&programs),
        io_uring(&programs),
        multipath(&fs::read_to_string("/proc/thread-self/net/protocols").unwrap_or_default()),
        services(&deliveries),
        passed_on(datapath, &deliveries),
    ]
}

/// A process that has a socket.
struct Program {
    /// Its name and its number.
    label: String,
    is_32_bit: bool,
    /// In a language whose runtime gives programs no `getsockopt`.
    is_without_getsockopt: bool,
    uses_io_uring: bool,
}

impl Program {
    fn all(proc: &Path) -> Vec<Self> {
        let processes = fs::read_dir(proc).into_iter().flatten().flatten();
        let programs = processes.filter_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            Self::look(pid, &process.path())
        });
        programs.collect()
    }

    /// `None` if it has no socket, or may not be seen.
    fn look(pid: u32, process: &Path) -> Option<Self> {
        const RUNTIMES: [&str; 5] = ["node", "nodejs", "deno", "bun", "java"];
        let descriptors = fs::read_dir(process.join("fd")).ok()?.flatten();
        let targets = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
        let targets: Vec<_> = targets.collect();
        let has = |kind: &str| {
            targets
                .iter()
                .any(|it| it.to_string_lossy().starts_with(kind))
        };
        if !has("socket:[") {
            return None;
        }
        let program = fs::read_link(process.join("exe")).unwrap_or_default();
        let file = program.file_name().unwrap_or_default();
        let is_without_getsockopt = RUNTIMES.iter().any(|runtime| file == *runtime);
        let name = fs::read(process.join("comm")).ok()?;
        // Node calls its threads something else.
        let name = match is_without_getsockopt {
            true => file.as_encoded_bytes(),
            false => name.trim_ascii_end(),
        };
        Some(Self {
            label: format!("{}({pid})", printable::name(name)),
            is_32_bit: is_32_bit(&process.join("exe")),
            is_without_getsockopt,
            uses_io_uring: has("anon_inode:[io_uring]"),
        })
    }
}

/// By the class in its ELF header (elf(5)).
fn is_32_bit(program: &Path) -> bool {
    const ELFCLASS32: u8 = 1;
    let mut header = [0; 5];
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(b"\x7fELF") && header[4] == ELFCLASS32
}

/// The labels of some of the programs, as many as fit a line.
fn labels(programs: &[Program], which: impl Fn(&Program) -> bool) -> Option<String> {
    let which = programs.iter().filter(|program| which(program));
    short_list(which.map(|program| program.label.clone()).collect())
}

fn narrow(programs: &[Program]) -> Check {
    let found = labels(programs, |it| it.is_32_bit).map(|narrow| {
        (
            format!("32-bit programs with sockets: {narrow}"),
            "they get no record: the kernel runs no hook for their socket options",
            "run them as 64-bit programs",
        )
    });
    check("programs", found, "all with sockets have 64 bits")
}

fn runtimes(programs: &[Program]) -> Check {
    let found = labels(programs, |it| it.is_without_getsockopt).map(|without| {
        (
            format!("programs with sockets whose language has no getsockopt: {without}"),
            "they cannot ask for records as they are",
            "call it from native code with the socket's descriptor, or let a proxy in front put \
             what it reads into a header; `pktmeta sockets` and `watch` show their records",
        )
    });
    check(
        "languages",
        found,
        "every program with sockets may have getsockopt",
    )
}

fn io_uring(programs: &[Program]) -> Check {
    let used = labels(programs, |it| it.uses_io_uring);
    let present = used.map_or("no program with sockets uses it".into(), |used| {
        format!(
            "used by {used}: io_uring itself reads no record (EOPNOTSUPP), the system call \
             getsockopt does"
        )
    });
    check("io_uring", None, &present)
}

fn multipath(protocols: &str) -> Check {
    let found = match multipath_sockets(protocols) {
        0 => None,
        open => Some((
            format!("sockets of Multipath TCP in this network namespace: {open}"),
            "their options are refused, and their connections have no record",
            "open sockets of IPPROTO_TCP; of a Go program: GODEBUG=multipathtcp=0",
        )),
    };
    check("Multipath TCP", found, "not used in this network namespace")
}

/// From `/proc/net/protocols`: name, size of a socket, number of sockets, for IPv4 and IPv6.
fn multipath_sockets(protocols: &str) -> u64 {
    let rows = protocols.lines().map(|line| line.split_whitespace());
    let mptcp = rows.filter_map(|mut row| {
        let is_mptcp = row.next()?.starts_with("MPTCP");
        is_mptcp.then(|| row.nth(1)?.parse::<u64>().ok())?
    });
    mptcp.sum()
}

fn services(deliveries: &[&Delivery]) -> Check {
    let services = deliveries
        .iter()
        .filter_map(|delivery| match &delivery.cgroup {
            Found::There(path) if path.extension()? == "service" => Some(delivery.label()),
            _ => None,
        });
    let found = short_list(services.collect()).map(|services| {
        (
            format!("records are delivered to the cgroup of a service: {services}"),
            "that ends when systemd restarts the service, and sockets of its socket unit have none",
            "deliver to a slice that stays, or run `pktmeta up --cgroup` from ExecStartPre=+",
        )
    });
    check("services", found, "none is delivered to alone")
}

/// A socket belongs to the cgroup in which it was made, whoever has it now.
fn passed_on(datapath: &Datapath, deliveries: &[&Delivery]) -> Check {
    let delivered = deliveries
        .iter()
        .filter_map(|delivery| delivery.cgroup.there());
    let delivered: Vec<_> = delivered.cloned().collect();
    let sockets = match delivered.is_empty() {
        true => Ok(Vec::new()),
        false => datapath.sockets(SocketScope::All),
    };
    let found = match sockets {
        Ok(sockets) => short_list(strangers(&sockets, &delivered)).map(|strangers| {
            (
                format!("made in a cgroup without records, and passed on: sockets of {strangers}"),
                "they have no records, as those that systemd opens for a service",
                "deliver to that cgroup too, or to a slice that contains both",
            )
        }),
        Err(error) => Some((
            error.line(),
            "sockets that were passed on to another cgroup's program are not seen",
            "see `pktmeta sockets --all`, which says why",
        )),
    };
    check(
        "sockets passed on",
        found,
        "all are of the cgroup of their program, or have records",
    )
}

/// Programs in a cgroup that is delivered to, with a socket of one that is not.
fn strangers(sockets: &[SocketStatus], delivered: &[PathBuf]) -> Vec<String> {
    let is_delivered = |cgroup: &Path| delivered.iter().any(|it| cgroup.starts_with(it));
    let mut programs: HashMap<u32, bool> = HashMap::new();
    let mut is_in = |pid: u32| {
        *programs.entry(pid).or_insert_with(|| {
            host::cgroup_of(&pid.to_string()).is_ok_and(|cgroup| is_delivered(&cgroup))
        })
    };
    let mut strangers = Vec::new();
    for socket in sockets {
        let Some(cgroup) = socket.cgroup.as_deref().filter(|it| !is_delivered(it)) else {
            continue;
        };
        if let Some(process) = socket.processes.iter().find(|process| is_in(process.pid)) {
            let name = printable::name(process.command.as_encoded_bytes());
            strangers.push(format!("{name}({}) of {}", process.pid, cgroup.shown()));
        }
    }
    strangers.sort();
    strangers.dedup();
    strangers
}

/// A check of a property that the datapath does not need.
fn check(name: &str, found: Option<(String, &str, &str)>, present: &str) -> Check {
    Check {
        name: format!("reach: {name}"),
        finding: match found {
            None => Finding::Present(present.into()),
            Some((why, consequence, remedy)) => Finding::Missing {
                needed: false,
                why,
                consequence: consequence.into(),
                remedy: remedy.into(),
            },
        },
    }
}

/// As many names as fit a line; `None` if there are none.
fn short_list(mut names: Vec<String>) -> Option<String> {
    const SHOWN: usize = 5;
    let more = names.len().checked_sub(SHOWN).filter(|more| *more > 0);
    names.sort();
    names.truncate(SHOWN);
    if let Some(more) = more {
        names.push(format!("and {more} more"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn programs_that_cannot_ask_are_named_and_others_are_not() {
        let proc = std::env::temp_dir().join(format!("pktmeta-reach-{}", std::process::id()));
        for (pid, class, program, targets) in [
            ("11", 1, "old", &["socket:[7]"][..]),
            ("12", 2, "new", &["socket:[8]"]),
            ("13", 1, "old", &["pipe:[9]"]),
            ("14", 2, "node", &["anon_inode:[eventpoll]", "socket:[10]"]),
            ("15", 2, "new", &["socket:[11]", "anon_inode:[io_uring]"]),
            ("self", 1, "old", &["socket:[7]"]),
        ] {
            let (process, file) = (proc.join(pid), proc.join(program));
            fs::create_dir_all(process.join("fd")).unwrap();
            fs::write(&file, [0x7f, b'E', b'L', b'F', class]).unwrap();
            symlink(file, process.join("exe")).unwrap();
            fs::write(process.join("comm"), "a\u{1b}name\n").unwrap();
            for (fd, target) in targets.iter().enumerate() {
                symlink(target, process.join("fd").join(fd.to_string())).unwrap();
            }
        }
        let programs = Program::all(&proc);
        fs::remove_dir_all(&proc).unwrap();
        let labels = |which: fn(&Program) -> bool| labels(&programs, which);
        assert_eq!(labels(|it| it.is_32_bit).unwrap(), r"a\u{1b}name(11)");
        assert_eq!(labels(|it| it.is_without_getsockopt).unwrap(), "node(14)");
        assert_eq!(labels(|it| it.uses_io_uring).unwrap(), r"a\u{1b}name(15)");
    }

    #[test]
    fn sockets_of_multipath_tcp_are_counted_for_both_families() {
        let header = "protocol  size sockets  memory press maxhdr  slab module     cl co\n";
        let rows = "MPTCPv6   2056      2       5   no     0   yes  kernel      y  n\n\
                    MPTCP     2056      1       5   no     0   yes  kernel      y  n\n\
                    TCP       2432     44       5   no   320   yes  kernel      y  y\n";
        assert_eq!(multipath_sockets(&format!("{header}{rows}")), 3);
        assert_eq!(multipath_sockets(header), 0);
    }

    #[test]
    fn a_long_list_ends_with_how_many_more() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect();
        assert_eq!(short_list(names(0)), None);
        assert_eq!(short_list(names(2)).unwrap(), "0, 1");
        assert_eq!(short_list(names(7)).unwrap(), "0, 1, 2, 3, 4, and 2 more");
    }
}
