//! What is wanted.

use crate::samples::Samples;

/// A ratio, and what it should be.
pub(super) struct Goal {
    pub(super) what: &'static str,
    pub(super) ratio: Samples,
    pub(super) wanted: Wanted,
}

pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(super) fn text(&self) -> String {
        match self.wanted {
            Wanted::AtLeast(least) => format!("{}, at least {least}", self.what),
            Wanted::AtMost(most) => format!("{}, at most {most}", self.what),
        }
    }

    pub(super) fn is_met(&self) -> bool {
        let ratio = self.ratio.spread().median;
        match self.wanted {
            Wanted::AtLeast(least) => ratio >= least,
            Wanted::AtMost(most) => ratio <= most,
        }
    }
}
