//! Programs that the tests need.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An empty directory for a test.
pub(crate) fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Whether a program is in the path.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Every clang that BPF programs may be built with.
pub(crate) fn clangs() -> Vec<String> {
    let clangs = pktmeta_build::clangs().into_iter();
    let clangs: Vec<_> = clangs
        .filter_map(|clang| clang.into_string().ok())
        .collect();
    assert!(
        !clangs.is_empty(),
        "no clang-NN is in the path: run `cargo xtask setup`"
    );
    clangs
}

/// Runs a program to its end, feeds it, and returns what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: run `cargo xtask setup`"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
