//! Text that should be a name, a type or a value, and is not.

use alloc::borrow::Cow;
use core::fmt;

/// Text that is no name, no type, or no value of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelt {
    wanted: Cow<'static, str>,
}

impl Misspelt {
    pub(crate) fn new(wanted: impl Into<Cow<'static, str>>) -> Self {
        let wanted = wanted.into();
        Self { wanted }
    }

    /// What to write instead, as a phrase: `true or false`.
    #[must_use]
    pub fn wanted(&self) -> &str {
        &self.wanted
    }
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it should be {}", self.wanted)
    }
}

impl core::error::Error for Misspelt {}
