//! What is wrong with a record that somebody wrote.

use std::fmt;

/// What is wrong with what somebody wrote, and what to write instead.
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
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  = {}", self.message, self.remedy)
    }
}

impl std::error::Error for TextError {}
