//! A check of the host, and its finding.

use crate::error::Error;

/// One thing that the datapath needs or can use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The name of the property.
    pub name: String,
    /// Whether it is there.
    pub finding: Finding,
}

/// The finding of a check.
///
/// Exhaustive: something is there or it is not.
#[derive(Clone, Debug)]
pub enum Finding {
    /// The property is there, with a detail.
    Present(String),
    /// It is missing.
    Missing {
        /// False if the datapath works without it, in a lesser way.
        needed: bool,
        /// The attempt and its result.
        why: String,
        /// The features that do not work without it.
        consequence: String,
        /// What to do.
        remedy: String,
    },
}

impl Check {
    /// A check of a property that the datapath cannot do without.
    pub(super) fn needed(name: &str, tried: Result<String, Error>, consequence: &str) -> Self {
        let finding = match tried {
            Ok(detail) => Finding::Present(detail),
            Err(error) => Finding::Missing {
                needed: true,
                why: error.line(),
                consequence: consequence.into(),
                remedy: error.remedy().unwrap_or(OLD_KERNEL).into(),
            },
        };
        Self {
            name: name.into(),
            finding,
        }
    }

    /// True if the datapath cannot work.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.finding, Finding::Missing { needed: true, .. })
    }
}

/// The consequence if nothing can be done without it.
pub(super) const ALL: &str = "nothing of pktmeta works";

/// The remedy where the kernel refuses a program, and nothing else is known to be missing.
const OLD_KERNEL: &str = "boot Linux 6.12 or later; if this is one, report what `pktmeta up` says";
