//! What runs on this host and gets no records, whatever the kernel has: `docs/guide/reach.md`.

use super::check::{Check, Finding};
use crate::{
    datapath::{Delivery, Status},
    host::Found,
};
use pktmeta_core::printable;
use std::{fs, io::Read as _, path::Path};

/// Looks at the processes that may be seen, the sockets of this network namespace, and where the
/// datapath delivers.
pub(super) fn checks(status: Option<&Status>) -> [Check; 3] {
    let deliveries = status.map_or(&[][..], |status| &status.deliveries);
    let deliveries = deliveries.iter().map(|status| &status.delivery);
    [
        programs(Path::new("/proc")),
        multipath(&fs::read_to_string("/proc/thread-self/net/protocols").unwrap_or_default()),
        services(deliveries),
    ]
}

fn programs(proc: &Path) -> Check {
    let narrow = short_list(narrow_programs(proc));
    let found = narrow.map(|narrow| {
        (
            format!("32-bit programs with sockets: {narrow}"),
            "they get no record: the kernel runs no hook for their socket options",
            "run them as 64-bit programs",
        )
    });
    check("programs", found, "all with sockets have 64 bits")
}

/// Names and numbers of the processes that run a 32-bit program and have a socket.
fn narrow_programs(proc: &Path) -> Vec<String> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let narrow = processes.filter_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let process = process.path();
        if !is_32_bit(&process.join("exe")) || !has_socket(&process.join("fd")) {
            return None;
        }
        let name = fs::read(process.join("comm")).ok()?;
        Some(format!("{}({pid})", printable::name(name.trim_ascii_end())))
    });
    narrow.collect()
}

/// By the class in its ELF header (elf(5)).
fn is_32_bit(program: &Path) -> bool {
    const ELFCLASS32: u8 = 1;
    let mut header = [0; 5];
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(b"\x7fELF") && header[4] == ELFCLASS32
}

fn has_socket(descriptors: &Path) -> bool {
    let descriptors = fs::read_dir(descriptors).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
    targets.any(|target| target.to_string_lossy().starts_with("socket:["))
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

fn services<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Check {
    let services = deliveries.filter_map(|delivery| match &delivery.cgroup {
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

/// Nothing that the datapath needs.
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

/// What fits a line; `None` if there is nothing.
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
    fn a_32_bit_program_with_a_socket_is_named_and_others_are_not() {
        let proc = std::env::temp_dir().join(format!("pktmeta-reach-{}", std::process::id()));
        for (pid, class, target) in [
            ("11", 1, "socket:[7]"),
            ("12", 2, "socket:[8]"),
            ("13", 1, "pipe:[9]"),
            ("self", 1, "socket:[7]"),
        ] {
            let process = proc.join(pid);
            fs::create_dir_all(process.join("fd")).unwrap();
            fs::write(process.join("exe"), [0x7f, b'E', b'L', b'F', class]).unwrap();
            fs::write(process.join("comm"), "old\u{1b}one\n").unwrap();
            symlink(target, process.join("fd/3")).unwrap();
        }
        let narrow = narrow_programs(&proc);
        fs::remove_dir_all(&proc).unwrap();
        assert_eq!(narrow, [r"old\u{1b}one(11)"]);
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
