//! What came of mutants.

use std::fmt;

/// How many mutants the tests noticed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Score {
    pub(super) caught: usize,
    /// Caught too: no test ended in time.
    pub(super) timed_out: usize,
    /// Survivors that a list explains.
    pub(super) explained: usize,
    /// Survivors that nobody has looked at.
    pub(super) unexplained: Vec<String>,
    /// Did not build: no test was asked.
    pub(super) unviable: usize,
    /// The share of caught mutants that is wanted, in percent.
    wanted: usize,
}

impl Score {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    pub(super) fn tried(&self) -> usize {
        self.caught + self.timed_out + self.explained + self.unexplained.len()
    }

    /// Percent, rounded down: 94.9 is not 95.
    fn percent(&self) -> usize {
        let noticed = self.caught + self.timed_out;
        (100 * noticed).checked_div(self.tried()).unwrap_or(0)
    }

    pub(super) fn is_enough(&self) -> bool {
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
            "{} mutants: {} caught, {} timed out, {} survived ({} of them explained), \
             {} did not build; {} % noticed, {} % wanted",
            self.tried() + self.unviable,
            self.caught,
            self.timed_out,
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
            timed_out: 1,
            explained,
            unexplained: unexplained.iter().map(ToString::to_string).collect(),
            unviable: 1,
            wanted: 90,
        }
    }

    #[test]
    fn a_score_is_enough_if_it_is_high_and_each_survivor_is_explained() {
        assert!(score(8, 1, &[]).is_enough());
        assert!(!score(8, 0, &["a line"]).is_enough());
        assert!(!score(7, 2, &[]).is_enough());
        assert!(!score(898, 101, &[]).is_enough());
    }

    #[test]
    fn no_mutants_are_no_score() {
        assert!(!Score::new(0).is_enough());
    }

    #[test]
    fn the_score_names_survivors_that_nobody_explained() {
        let text = score(7, 1, &["a line"]).to_string();
        assert!(text.starts_with("survived, and no list says why: a line\n"));
        assert!(text.ends_with(
            "11 mutants: 7 caught, 1 timed out, 2 survived (1 of them explained), \
             1 did not build; 80 % noticed, 90 % wanted"
        ));
    }
}
