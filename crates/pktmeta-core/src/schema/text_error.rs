//! Mistakes in what people write for a record.

use std::fmt;

/// A mistake in what somebody wrote for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    message: String,
    remedy: String,
}

impl TextError {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TextError {}
