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
            "\n       syn      rx_timestamp=",
            "Z tcp accepted 127.0.0.1:8080 127.0.0.1:",
            "Z tcp accepted 127.0.0.1:8081 127.0.0.1:",
            " tenant=7\n",
            "everything of pktmeta is removed\n",
        ] {
            assert!(said.contains(part), "no {part:?} in:\n{said}");
        }
    });
}

/// Runs the bash blocks of a guide as one script, for the sockets of a cgroup and no others.
fn run(guide: &str, cgroup: &Path) -> String {
    let blocks = guide.split("```bash\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("```").unwrap().0);
    let script = blocks.collect::<String>();
    let up = format!("pktmeta up --cgroup {} ", text(cgroup));
    let script = script.replace("pktmeta up ", &up);
    let own = Path::new(PKTMETA).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&path))).unwrap();
    let scratch = Scratch::new();
    let mut bash = Command::new("timeout");
    bash.args(["60", "bash", "-c", &script]);
    bash.env("PATH", path).env("TMPDIR", scratch.path());
    bash.ran().succeeds()
}
