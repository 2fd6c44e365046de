//! What went wrong, why, and what to do.

use std::fmt;

/// A failed operation on the datapath.
#[derive(Clone, Debug)]
pub struct Error {
    tried: String,
    why: String,
    remedy: Option<String>,
}

impl Error {
    /// `tried` failed because of `why`.
    pub(crate) fn new(tried: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            tried: tried.into(),
            why: why.to_string(),
            remedy: None,
        }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Says at which place of the user's text it was tried.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.tried = format!("{place}: {}", self.tried);
        self
    }

    /// What was being done.
    #[must_use]
    pub fn tried(&self) -> &str {
        &self.tried
    }

    /// Why it failed.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.why)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  = {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Says what was being done when an error came up.
pub(crate) trait Context<T> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::new(tried(), error))
    }
}
