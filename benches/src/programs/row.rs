//! What a program adds.

use crate::samples::Samples;

/// One program in one situation, beside a program that does nothing.
pub(super) struct Row {
    pub(super) program: &'static str,
    pub(super) case: &'static str,
    pub(super) method: Method,
    /// What is added up: "packet", "connection", ...
    pub(super) unit: &'static str,
    /// How often the program runs for each of these.
    pub(super) runs: Samples,
    /// Of one run.
    pub(super) nanoseconds: Samples,
    /// Of one run of a program that does nothing, measured in the same way.
    pub(super) empty: Samples,
}

/// How a program was measured.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    /// `BPF_PROG_TEST_RUN`, on the same packet again and again.
    Run,
    /// `bpf_stats_enabled`, under traffic.
    Counted,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Run => "PROG_RUN",
            Self::Counted => "bpf_stats",
        }
    }
}

impl Row {
    /// Adds a round.
    pub(super) fn push(&mut self, nanoseconds: f64, empty: f64, runs: f64) {
        self.nanoseconds.push(nanoseconds);
        self.empty.push(empty);
        self.runs.push(runs);
    }

    /// What a run adds.
    pub(super) fn added(&self) -> Samples {
        self.nanoseconds.minus(&self.empty)
    }

    /// What all runs for one packet, connection, ... add together.
    pub(super) fn added_for_unit(&self) -> Samples {
        self.added().against(&self.runs, |added, runs| added * runs)
    }
}
