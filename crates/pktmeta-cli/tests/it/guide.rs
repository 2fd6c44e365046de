//! `docs/guide`: what it says to run does what it says.

use crate::command::{PKTMETA, Run, Scratch, text};
use pktmeta_testkit::sandbox::in_sandbox;
use std::{env, path::Path, process::Command};

#[test]
fn what_a_server_that_knows_nothing_carries_is_seen_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/see-sockets.md");
        let said = run(guide, sandbox.cgroup());
        for part in [
            "\ntcp    established  127.0.0.1:8080  ",
            "\n       syn      rx_ifindex=1 rx_queue=0 tenant=7\n",
            "Z tcp accepted 127.0.0.1:8080 127.0.0.1:",
            "Z tcp accepted 127.0.0.1:8081 127.0.0.1:",
            " tenant=7\n",
            "everything of pktmeta is removed\n",
        ] {
            assert!(said.contains(part), "no {part:?} in:\n{said}");
        }
    });
}

#[test]
fn the_first_value_is_read_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/README.md");
        runs(
            guide,
            &["everything of pktmeta is removed\n"],
            sandbox.cgroup(),
        );
    });
}

#[test]
fn a_tcp_server_reads_request_by_request_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/tcp-server.md");
        runs(
            guide,
            &["everything of pktmeta is removed\n"],
            sandbox.cgroup(),
        );
    });
}

#[test]
fn a_udp_server_reads_each_datagram_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/udp-server.md");
        runs(
            guide,
            &["everything of pktmeta is removed\n"],
            sandbox.cgroup(),
        );
    });
}

#[test]
fn an_application_labels_what_it_sends_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/send.md");
        runs(
            guide,
            &[
                "       sends    tenant=8\n",
                "everything of pktmeta is removed\n",
            ],
            sandbox.cgroup(),
        );
    });
}

#[test]
fn where_records_are_kept_is_seen_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/where.md");
        runs(guide, &[], sandbox.cgroup());
    });
}

#[test]
fn a_program_of_ones_own_labels_packets_as_the_guide_says() {
    in_sandbox(|sandbox| {
        let guide = include_str!("../../../../docs/guide/bpf-author.md");
        runs(guide, &["tenant of edge: removed\n"], sandbox.cgroup());
    });
}

#[test]
fn the_guides_rust_is_that_of_the_examples() {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let examples = [
        include_str!("../../../../examples/rust/requests.rs"),
        include_str!("../../../../examples/rust/web.rs"),
        include_str!("../../../../examples/rust/datagrams.rs"),
        include_str!("../../../../examples/rust/quic.rs"),
        include_str!("../../../../examples/rust/send.rs"),
        include_str!("../../../../examples/rust/answer.rs"),
    ];
    let examples = examples.map(squeeze);
    let mut programs = 0;
    for guide in [
        include_str!("../../../../docs/guide/tcp-server.md"),
        include_str!("../../../../docs/guide/udp-server.md"),
        include_str!("../../../../docs/guide/send.md"),
    ] {
        for block in blocks(guide, "rust").map(squeeze) {
            // What a reader can copy and run is all of an example, from its first line to its last.
            let program = block.contains("fn main()");
            let found = examples.iter().any(|example| match program {
                true => block.starts_with("use ") && example.ends_with(&block),
                false => example.contains(&block),
            });
            assert!(found, "not in examples/rust: {block}");
            programs += usize::from(program);
        }
    }
    assert_eq!(programs, 4, "programs in the guide");
}

/// What a guide says to run says what the guide shows in its blocks of text, and `parts`.
#[track_caller]
fn runs(guide: &str, parts: &[&str], cgroup: &Path) {
    let said = run(guide, cgroup);
    for part in blocks(guide, "text").chain(parts.iter().copied()) {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

/// The fenced blocks of a language.
fn blocks<'a>(guide: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let blocks = guide.split("```").skip(1).step_by(2);
    let start = format!("{language}\n");
    blocks.filter_map(move |block| block.strip_prefix(start.as_str()))
}

/// Runs the bash blocks of a guide as one script, which ends with what fails, for the sockets of a
/// cgroup and no others.
fn run(guide: &str, cgroup: &Path) -> String {
    let script = blocks(guide, "bash").collect::<String>();
    let up = format!("pktmeta up --cgroup {} ", text(cgroup));
    let script = script.replace("pktmeta up --cgroup /sys/fs/cgroup", "pktmeta up ");
    let script = script.replace("pktmeta up ", &up);
    let clang = concat!("clang() { ", env!("PKTMETA_CLANG"), r#" "$@"; }"#);
    let own = Path::new(PKTMETA).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&path))).unwrap();
    let scratch = Scratch::new();
    let mut bash = Command::new("timeout");
    bash.args(["60", "bash", "-ec", &format!("{clang}\n{script}")]);
    bash.env("PATH", path).env("TMPDIR", scratch.path());
    bash.env("PKTMETA", concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    bash.ran().succeeds()
}
