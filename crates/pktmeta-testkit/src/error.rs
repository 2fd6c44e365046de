//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The action that failed, its cause and, where it is known, a remedy.
///
/// `{}` prints the outermost sentence, `{:#}` and `{:?}` the whole chain of causes on one line, so
/// that `unwrap()` in a test says everything.
pub struct Error {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that has no deeper cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// An error with the cause below it.
    pub fn with_source(
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// Wraps this error in a sentence of the caller.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self::with_source(message, self)
    }

    /// The `errno` at the bottom of the chain, if the kernel had the last word.
    ///
    /// ```
    /// use pktmeta_testkit::Error;
    /// let refused = std::io::Error::from_raw_os_error(libc::EPERM);
    /// let error = Error::with_source("cannot load the program", refused).context("test failed");
    /// assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        causes(self).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            causes(self).try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// Adds a sentence to the error of anything that can fail.
pub(crate) trait Context<T> {
    /// The sentence is made only when it is needed.
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::with_source(message(), error))
    }
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_whole_chain() {
        let error = Error::with_source("inner", io::Error::from_raw_os_error(libc::ENOENT))
            .context("outer");
        assert_eq!(error.to_string(), "outer");
        assert_eq!(
            format!("{error:?}"),
            "outer: inner: No such file or directory (os error 2)"
        );
    }
}
