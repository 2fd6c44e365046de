//! `bpf/defs.bpf.h` and the errors of headers say what the kernel's headers and libc's say.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{fmt::Write as _, fs, path::Path, process::Command};

const DEFS: &str = include_str!("../bpf/defs.bpf.h");
const RECORD: &str = include_str!("../../pktmeta-headers/include/pktmeta/record.h");
const TRAITS: &str = include_str!("../../pktmeta-headers/include/pktmeta/traits.bpf.h");

const MACHINES: &str = "\
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
enum { KERNELS_SYN = TCP_FLAG_SYN, KERNELS_ACK = TCP_FLAG_ACK };
";

/// Those that no header of the machine has, and the flags, which the kernel has as 32-bit words.
const UNKNOWN_THERE: [&str; 6] = [
    "NULL",
    "VLAN_HLEN",
    "TCP_FLAG_SYN",
    "TCP_FLAG_ACK",
    "CGROUP_SKB_PASS",
    "ENOTSUPP",
];

/// Members of our structures, and of the kernel's.
const MEMBERS: [(&str, &str); 8] = [
    ("pktmeta_ipv4_header, source", "iphdr, saddr"),
    ("pktmeta_ipv4_header, destination", "iphdr, daddr"),
    ("pktmeta_ipv6_header, source", "ipv6hdr, saddr"),
    ("pktmeta_ipv6_header, destination", "ipv6hdr, daddr"),
    ("pktmeta_ports, source", "udphdr, source"),
    ("pktmeta_ports, destination", "udphdr, dest"),
    ("pktmeta_tcp_header, sequence", "tcphdr, seq"),
    ("pktmeta_tcp_header, acknowledgment", "tcphdr, ack_seq"),
];

#[test]
fn every_number_and_header_is_that_of_the_machines_headers() {
    let mut program = MACHINES.to_owned();
    let errors = [RECORD, TRAITS].into_iter().flat_map(defines);
    let errors = errors.filter_map(|(name, value)| Some((name.strip_prefix("PKTMETA_")?, value)));
    let errors = errors.filter(|(name, _)| name.starts_with('E'));
    let mut compared = 0;
    for (name, value) in defines(DEFS).chain(errors) {
        if !UNKNOWN_THERE.contains(&name) {
            compared += 1;
            let _ = writeln!(program, "_Static_assert({name} == {value}, \"{name}\");");
        }
    }
    assert!(compared >= 30, "{compared}");
    for (name, _) in defines(DEFS) {
        let _ = writeln!(program, "#undef {name}");
    }
    program += DEFS;
    for (here, there) in MEMBERS {
        let _ = writeln!(
            program,
            "_Static_assert(offsetof(struct {here}) == offsetof(struct {there}), \"{here}\");"
        );
    }
    program += "
_Static_assert(sizeof(struct pktmeta_ipv4_header) == sizeof(struct iphdr), \"IPv4\");
_Static_assert(sizeof(struct pktmeta_ipv6_header) == sizeof(struct ipv6hdr), \"IPv6\");

int main(void)
{
	unsigned int kernels = KERNELS_SYN | KERNELS_ACK;
	struct pktmeta_tcp_header header = { .data_offset = 1 };

	memcpy(&header.data_offset, &kernels, sizeof(kernels));
	return header.data_offset || header.flags != (TCP_FLAG_SYN | TCP_FLAG_ACK);
}
";
    run(&program);
}

/// The macros of a header that have a value.
fn defines(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let macros = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define "));
    macros.filter_map(|line| {
        let line = line.split("/*").next()?.trim();
        line.split_once(' ').filter(|(name, _)| !name.contains('('))
    })
}

/// Compiles a program for this machine, and runs it.
#[track_caller]
fn run(program: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("defs");
    fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("it.c"), folder.join("it"));
    fs::write(&source, program).unwrap();
    let mut cc = Command::new("cc");
    let compiled = cc.arg(&source).arg("-o").arg(&binary).output().unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    assert!(Command::new(&binary).status().unwrap().success());
}
