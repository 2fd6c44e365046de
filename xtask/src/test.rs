//! All tests of the workspace, and one line that says how many.

mod transcript;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ExitCode, Stdio};

use crate::error::{Error, Result};
use crate::{setup, tool};
use transcript::Transcript;

/// Runs `cargo test` over everything; `arguments` are added to its own. The sum is the last line,
/// also when tests failed: that is no error of this program, and the exit code says it.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    setup::to_test()?;
    if !tool::is_root() {
        return Err(Error::new(
            "the tests load and attach BPF programs and make network namespaces: run them as root",
        ));
    }
    let mut tests = tool::cargo_in_workspace()
        .args(["test", "--all-features", "--no-fail-fast"])
        .args(scope(arguments))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Error::new(format!("cannot start cargo: {error}")))?;
    let output = tests.stdout.take().expect("it was asked to be piped");
    let transcript = relay(output, io::stdout().lock())
        .map_err(|error| Error::new(format!("cannot pass on what cargo test prints: {error}")))?;
    let status = tests
        .wait()
        .map_err(|error| Error::new(format!("cannot wait for cargo test: {error}")))?;
    let sum = transcript.sum();
    if !status.success() && sum.failed == 0 {
        eprintln!(
            "error: cargo test failed ({status}), but no single test did: something did not \
             build, or a test program ended too early; see above"
        );
    }
    println!("{sum}");
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Everything, unless packages are chosen: cargo would not listen to the choice.
fn scope(arguments: &[OsString]) -> Option<&'static str> {
    let chosen = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| argument.to_str())
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    (!chosen).then_some("--workspace")
}

/// Copies line by line and counts the tests.
fn relay(from: impl Read, mut to: impl Write) -> io::Result<Transcript> {
    let mut from = BufReader::new(from);
    let mut transcript = Transcript::default();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        transcript.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(line: &str) -> Option<&'static str> {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        scope(&words)
    }

    #[test]
    fn everything_is_tested_unless_packages_are_chosen() {
        assert_eq!(scope_of(""), Some("--workspace"));
        assert_eq!(scope_of("--doc -- -p"), Some("--workspace"));
        assert_eq!(scope_of("-p pktmeta-core"), None);
        assert_eq!(scope_of("--package=pktmeta-core --doc"), None);
    }

    #[test]
    fn output_is_passed_on_unchanged() {
        let output = b"running 1 test\n\xff\ntest result: ok. 1 passed; 0 failed; 0 ignored; \
                       0 measured; 0 filtered out\nno newline";
        let mut copy = Vec::new();
        let transcript = relay(output.as_slice(), &mut copy).unwrap();
        assert_eq!(copy, output);
        assert_eq!(transcript.sum().to_string(), "1 passed, 0 failed");
    }
}
