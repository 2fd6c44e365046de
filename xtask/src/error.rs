//! The one error type.

use std::fmt;

/// What most tasks return: they print their results.
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;

/// What was tried, why it failed and, where we know, what to do about it: a text for a person.
#[derive(Debug)]
pub(crate) struct Error(String);

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
