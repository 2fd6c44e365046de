//! Mutation testing: would a test notice if this line were wrong?
//!
//! Each mutant is one small change of the code. A mutant that every test passes is a hole in the
//! tests, or changes nothing that anybody can see. Not part of `check` or `test`: it takes hours.

mod c;
mod rust;
mod survivors;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use crate::error::{Error, Result};
use crate::{setup, tool};

/// Runs the mutants of one language. Fails if the score is below what the language has to reach,
/// or if a mutant survives that no list explains.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    setup::to_test()?;
    if !tool::is_root() {
        return Err(Error::new(
            "the tests that look for mutants load BPF programs: run them as root",
        ));
    }
    let score = match arguments.split_first() {
        Some((language, rest)) if language == "c" => c::run(rest)?,
        Some((language, rest)) if language == "rust" => rust::run(rest)?,
        _ => {
            return Err(Error::new(
                "say which: `cargo xtask mutants c [TEXT]` or `cargo xtask mutants rust [ARGS]`",
            ));
        }
    };
    println!("{score}");
    Ok(if score.is_enough() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many mutants the tests noticed.
#[derive(Debug, Default, PartialEq)]
struct Score {
    caught: usize,
    /// Survivors that a list explains.
    explained: usize,
    /// Survivors that nobody has looked at.
    unexplained: Vec<String>,
    /// Did not build: no test was asked.
    unviable: usize,
    /// The share of caught mutants that is wanted, in percent.
    wanted: usize,
}

impl Score {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    fn tried(&self) -> usize {
        self.caught + self.explained + self.unexplained.len()
    }

    /// Percent, rounded down: 94.9 is not 95.
    fn percent(&self) -> usize {
        (100 * self.caught).checked_div(self.tried()).unwrap_or(0)
    }

    fn is_enough(&self) -> bool {
        self.tried() > 0 && self.percent() >= self.wanted && self.unexplained.is_empty()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for survivor in &self.unexplained {
            writeln!(f, "survived, and no list says why: {survivor}")?;
        }
        write!(
            f,
            "{} mutants: {} caught, {} survived ({} of them explained), {} did not build; \
             {} % caught, {} % wanted",
            self.tried() + self.unviable,
            self.caught,
            self.explained + self.unexplained.len(),
            self.explained,
            self.unviable,
            self.percent(),
            self.wanted,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(caught: usize, explained: usize, unexplained: &[&str]) -> Score {
        Score {
            caught,
            explained,
            unexplained: unexplained.iter().map(ToString::to_string).collect(),
            unviable: 1,
            wanted: 90,
        }
    }

    #[test]
    fn a_score_is_enough_if_it_is_high_and_each_survivor_is_explained() {
        assert!(score(9, 1, &[]).is_enough());
        assert!(!score(9, 0, &["a line"]).is_enough());
        assert!(!score(8, 2, &[]).is_enough());
        assert!(!score(899, 101, &[]).is_enough());
    }

    #[test]
    fn no_mutants_are_no_score() {
        assert!(!Score::new(0).is_enough());
    }

    #[test]
    fn the_score_names_survivors_that_nobody_explained() {
        let text = score(8, 1, &["a line"]).to_string();
        assert!(text.starts_with("survived, and no list says why: a line\n"));
        assert!(text.ends_with(
            "11 mutants: 8 caught, 2 survived (1 of them explained), 1 did not build; \
             80 % caught, 90 % wanted"
        ));
    }
}
