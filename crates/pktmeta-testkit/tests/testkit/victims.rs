//! Tests that other tests start, to see them fail. They are ignored, so that nobody else runs them.

use std::process::Command;
use std::time::Duration;

use pktmeta_testkit::sandbox::{Sandbox, in_sandbox, in_sandbox_for};

#[test]
#[ignore = "fails on purpose"]
fn panics_in_the_sandbox() {
    in_sandbox(|sandbox| panic!("on purpose in {}", sandbox.cgroup().display()));
}

#[test]
#[ignore = "fails on purpose"]
fn never_ends() {
    in_sandbox_for(Duration::from_secs(2), |sandbox| {
        println!("in {}", sandbox.cgroup().display());
        std::thread::sleep(Duration::from_secs(600));
    });
}

#[test]
#[ignore = "fails on purpose"]
fn leaves_the_test_without_a_panic() {
    in_sandbox(|_| std::process::exit(0));
}

#[test]
#[ignore = "fails on purpose"]
fn calls_in_sandbox_from_a_helper() {
    helper();
}

fn helper() {
    in_sandbox(|_| ());
}

#[test]
#[ignore = "waits to be interrupted"]
fn waits_in_sandbox_run() {
    let mut command = Command::new("sh");
    let status =
        Sandbox::run(command.args(["-c", "echo in $PKTMETA_SANDBOX; exec sleep 600"])).unwrap();
    println!("then {status}");
}

#[test]
#[ignore = "waits to be interrupted"]
fn waits_for_a_command_that_ignores_signals() {
    let script = "trap '' INT TERM; echo in $PKTMETA_SANDBOX; while :; do sleep 1; done";
    let status = Sandbox::run(Command::new("sh").args(["-c", script])).unwrap();
    println!("then {status}");
}

#[test]
#[ignore = "waits to be interrupted"]
fn waits_in_in_sandbox() {
    in_sandbox(|sandbox| {
        std::fs::write(
            std::env::var_os("VICTIM_OUT").unwrap(),
            sandbox.cgroup().to_str().unwrap(),
        )
        .unwrap();
        std::thread::sleep(Duration::from_secs(600));
    });
}
