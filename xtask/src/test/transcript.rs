//! Counts tests by what cargo test prints.

use std::fmt;

/// What cargo test printed so far, as far as it counts.
///
/// Two things make it more than a sum. A test may start its own test program once more, in a
/// sandbox, and what that prints is shown when the test fails: a run inside another one, which
/// must not count. And a test program may crash, or be killed: a run that starts but never ends.
#[derive(Debug, Default)]
pub(super) struct Transcript(Vec<Event>);

#[derive(Debug)]
enum Event {
    /// `running 3 tests`
    Start { size: u64 },
    /// `test result: ...`
    End(Outcome),
}

impl Transcript {
    /// Takes the next line.
    pub(super) fn read(&mut self, line: &str) {
        let start = || run_size(line).map(|size| Event::Start { size });
        let end = || Outcome::parse(line).map(Event::End);
        self.0.extend(start().or_else(end));
    }

    /// The sum of all outermost runs that ended.
    pub(super) fn sum(&self) -> Outcome {
        let mut sum = Outcome::default();
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let events = match first_run(rest) {
                Some((outcome, events)) => {
                    sum.add(outcome);
                    events
                }
                None => 1,
            };
            rest = &rest[events..];
        }
        sum
    }
}

/// How the run ended that starts with the first of `events`, and how many of them are its own.
/// `None` if it never ended.
fn first_run(events: &[Event]) -> Option<(&Outcome, usize)> {
    let mut open = Vec::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start { size } => open.push(*size),
            Event::End(outcome) => {
                // An end belongs to the innermost run of its size. Those further in never ended.
                let run = open.iter().rposition(|&size| size == outcome.size())?;
                open.truncate(run);
                if open.is_empty() {
                    return Some((outcome, at + 1));
                }
            }
        }
    }
    None
}

/// How many tests a run is going to have, from `running 3 tests`.
fn run_size(line: &str) -> Option<u64> {
    let (size, unit) = line.trim_end().strip_prefix("running ")?.split_once(' ')?;
    matches!(unit, "test" | "tests").then(|| size.parse().ok())?
}

/// How many tests ended in which way.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) passed: u64,
    pub(super) failed: u64,
    ignored: u64,
    measured: u64,
}

impl Outcome {
    /// From `test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; ...`.
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("test result: ")?;
        let words: Vec<_> = line
            .split([' ', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        let count = |what| {
            let at = words.iter().position(|&word| word == what)?;
            words.get(at.checked_sub(1)?)?.parse().ok()
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
            measured: count("measured")?,
        })
    }

    /// As the run announced it: without what was filtered out.
    fn size(&self) -> u64 {
        self.passed + self.failed + self.ignored + self.measured
    }

    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.measured += other.measured;
    }
}

/// `2 passed, 0 failed`, and `, 1 skipped` if there are such.
impl fmt::Display for Outcome {
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

    fn sum(output: &str) -> String {
        let mut transcript = Transcript::default();
        output.lines().for_each(|line| transcript.read(line));
        transcript.sum().to_string()
    }

    #[test]
    fn a_result_line_is_understood() {
        let line = "test result: FAILED. 12 passed; 3 failed; 2 ignored; 1 measured; \
                    40 filtered out; finished in 0.52s";
        let outcome = Outcome {
            passed: 12,
            failed: 3,
            ignored: 2,
            measured: 1,
        };
        assert_eq!(Outcome::parse(line), Some(outcome));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(Outcome::parse("test result::tests::works ... ok"), None);
        assert_eq!(Outcome::parse("test result: "), None);
        assert_eq!(run_size("running late"), None);
        assert_eq!(run_size("running 3 test programs"), None);
    }

    #[test]
    fn test_programs_are_added_up() {
        let output = "
running 2 tests
test a ... ok
test b ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
test c ... ok

test result: \u{1b}[32mok\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out
";
        assert_eq!(sum(output), "2 passed, 1 failed");
    }

    #[test]
    fn ignored_tests_are_shown_as_skipped() {
        let output = "
running 2 tests
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(sum(output), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_run_inside_a_test_is_not_counted() {
        let output = "
running 1 test
test b ... FAILED
---- b stdout ----

running 1 test
test b ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
        assert_eq!(sum(output), "0 passed, 1 failed");
    }

    #[test]
    fn a_run_inside_a_test_may_have_been_killed() {
        let output = "
running 2 tests
test a ... ok
test b ... FAILED
---- b stdout ----

running 1 test

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.00s

running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(sum(output), "2 passed, 1 failed");
    }

    #[test]
    fn a_test_program_that_crashed_hides_no_other() {
        let output = "
running 2 tests
test a ... ok

running 3 tests
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 2 tests
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(sum(output), "4 passed, 1 failed");
    }
}
