//! All tests of the workspace, and one line that says how many.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ExitCode, Stdio};

use crate::error::{Error, Result};
use crate::{setup, tool};

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
    let sum = relay(output, io::stdout().lock())
        .map_err(|error| Error::new(format!("cannot pass on what cargo test prints: {error}")))?;
    let status = tests
        .wait()
        .map_err(|error| Error::new(format!("cannot wait for cargo test: {error}")))?;
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

/// Copies line by line and adds up what the test programs say at their ends. A test program that
/// crashed says nothing, and cargo that it failed.
fn relay(from: impl Read, mut to: impl Write) -> io::Result<Sum> {
    let mut from = BufReader::new(from);
    let mut sum = Sum::default();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        sum.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(sum)
}

/// How many tests ended in which way.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    /// Adds a line such as `test result: ok. 1 passed; 0 failed; 2 ignored; ...`; others say
    /// nothing. A test that runs a test program shows what that says indented.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<_> = result
            .split([' ', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        for (number, what) in words.iter().zip(words.iter().skip(1)) {
            let number = number.parse().unwrap_or(0);
            match *what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// `2 passed, 0 failed`, and `, 1 skipped` if there are such.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.ignored {
            0 => Ok(()),
            ignored => write!(f, ", {ignored} skipped"),
        }
    }
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
        let sum = relay(output.as_slice(), &mut copy).unwrap();
        assert_eq!(copy, output);
        assert_eq!(sum.to_string(), "1 passed, 0 failed");
    }

    #[test]
    fn test_programs_are_added_up_and_what_a_test_runs_is_not() {
        let output = "
running 2 tests
test a ... ok
test b ... FAILED
---- b stdout ----
    running 1 test
    test b ... FAILED
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result::tests::works ... ok
test result: \u{1b}[32mok\u{1b}[m. 1 passed; 0 failed; 3 ignored; 0 measured; 9 filtered out
";
        let sum = relay(output.as_bytes(), io::sink()).unwrap();
        assert_eq!(sum.to_string(), "2 passed, 1 failed, 3 skipped");
    }
}
