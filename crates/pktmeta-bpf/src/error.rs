//! Errors of the loader, with their causes and remedies.

use pktmeta_core::printable;
use std::{
    error::Error as StdError, ffi::OsStr, fmt, io, os::unix::ffi::OsStrExt, path::Path, sync::Arc,
};

/// A failed operation on the datapath: what was tried, why it failed, and what to do.
///
/// `{}` says what was tried, and why, unless the cause is another error, which is the
/// [`source`](StdError::source). `{:#}` includes the sources. Neither includes the remedy: a
/// program that shows the error to people prints [`Error::remedy`] too.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    tried: String,
    why: Why,
    remedy: Option<String>,
    errno: Option<i32>,
}

#[derive(Clone)]
enum Why {
    Text(String),
    Source(Arc<dyn StdError + Send + Sync>),
}

/// The sort of a failure, for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request contradicts itself, or the fields of this host.
    Invalid,
    /// Something that was named is not there.
    NotFound,
    /// Somebody else uses it, or it is done already.
    InUse,
    /// This process may not do it.
    NotPermitted,
    /// The host lacks a feature that it takes.
    Unsupported,
    /// A file or map is damaged, or of another user or version.
    Unusable,
    /// The kernel refused for another reason, which is the [`source`](StdError::source).
    Refused,
}

impl Error {
    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The action that failed.
    #[must_use]
    pub fn tried(&self) -> &str {
        &self.0.tried
    }

    /// Why it failed, down to the last source.
    #[must_use]
    pub fn why(&self) -> String {
        match &self.0.why {
            Why::Text(text) => text.clone(),
            Why::Source(source) => {
                let mut text = source.to_string();
                let mut next = source.source();
                while let Some(source) = next {
                    text += &format!(": {source}");
                    next = source.source();
                }
                text
            }
        }
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// `tried` failed because of `why`.
    pub(crate) fn new(kind: ErrorKind, tried: impl Into<String>, why: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            tried: tried.into(),
            why: Why::Text(why.to_string()),
            remedy: None,
            errno: None,
        }))
    }

    /// `tried` failed because of another error. If that one is the kernel's, its number decides
    /// kind and remedy.
    pub(crate) fn of(
        tried: impl Into<String>,
        why: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let source: Arc<dyn StdError + Send + Sync> = why.into().into();
        let errno = errno(&*source);
        Self(Box::new(Inner {
            kind: errno.map_or(ErrorKind::Refused, kind_of),
            tried: tried.into(),
            why: Why::Source(source),
            remedy: errno.and_then(remedy_of).map(Into::into),
            errno,
        }))
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn without_remedy(mut self) -> Self {
        self.0.remedy = None;
        self
    }

    /// Adds a remedy, unless the error has one that fits better.
    pub(crate) fn or_remedy(self, remedy: impl Into<String>) -> Self {
        match self.remedy() {
            Some(_) => self,
            None => self.with_remedy(remedy),
        }
    }

    /// The same error of a larger undertaking.
    pub(crate) fn during(self, tried: impl Into<String>) -> Self {
        let Inner {
            kind,
            remedy,
            errno,
            ..
        } = (*self.0).clone();
        Self(Box::new(Inner {
            kind,
            tried: tried.into(),
            why: Why::Source(Arc::new(self.without_remedy())),
            remedy,
            errno,
        }))
    }

    /// The same error with a longer explanation.
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.0.why = Why::Text(why.into());
        self
    }

    /// The number of the kernel's error, if that was the cause.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// Adds the place in the user's text.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.0.tried = format!("{place}: {}", self.0.tried);
        self
    }

    /// Action and cause in one line.
    pub(crate) fn line(&self) -> String {
        format!("{self:#}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())?;
        match self.remedy() {
            Some(remedy) => write!(f, "\n  = {remedy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.why {
            Why::Source(_) if !f.alternate() => f.write_str(&self.0.tried),
            _ => write!(f, "{}: {}", self.0.tried, self.why()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.why {
            Why::Text(_) => None,
            Why::Source(source) => Some(&**source),
        }
    }
}

/// Adds the action that failed to an error.
pub(crate) trait Context<T> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::of(tried(), error))
    }
}

/// Shows a name that others chose, such as a path, so that it cannot break a line or move the
/// cursor.
pub(crate) trait Shown {
    /// In one line.
    fn shown(&self) -> String;
}

impl Shown for OsStr {
    fn shown(&self) -> String {
        printable::name(self.as_bytes())
    }
}

impl Shown for Path {
    fn shown(&self) -> String {
        self.as_os_str().shown()
    }
}

/// The number of a kernel's error.
fn errno(error: &(dyn StdError + Send + Sync + 'static)) -> Option<i32> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.raw_os_error();
    }
    if let Some(error) = error.downcast_ref::<rustix::io::Errno>() {
        return Some(error.raw_os_error());
    }
    // libbpf-rs keeps the number to itself, and prints it as io::Error does.
    let text = format!("{:#}", error.downcast_ref::<libbpf_rs::Error>()?);
    let (_, number) = text.rsplit_once("(os error ")?;
    number.split_once(')')?.0.parse().ok()
}

fn kind_of(errno: i32) -> ErrorKind {
    match errno {
        libc::EPERM | libc::EACCES => ErrorKind::NotPermitted,
        libc::ENOENT | libc::ENODEV => ErrorKind::NotFound,
        libc::EBUSY | libc::EEXIST => ErrorKind::InUse,
        libc::EOPNOTSUPP | libc::ENOSYS => ErrorKind::Unsupported,
        _ => ErrorKind::Refused,
    }
}

/// The remedy for an error of the kernel, whatever was tried.
fn remedy_of(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM | libc::EACCES => {
            "run it as root; `pktmeta doctor` says which capabilities this process lacks"
        }
        libc::EMFILE => "this process may open no more files: raise its limit (`ulimit -n 1024`)",
        libc::ENFILE => "the host has no files left: raise the limit (`sysctl fs.file-max`)",
        libc::ENOMEM => {
            "memory is short, for the host or this cgroup (memory.max); `up` needs some 32 MB, and \
             fewer --slots need less"
        }
        libc::ENOSPC => "a limit of the host is reached; `dmesg` may say which",
        libc::EROFS => {
            "the file system is read-only: mount a bpffs elsewhere and name it (--bpffs)"
        }
        libc::EBUSY => "somebody else uses it just now: try again",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Err::<(), _>(error).context(|| "try".into()).unwrap_err()
    }

    #[test]
    fn the_remedy_follows_the_kernels_error_whatever_library_brought_it() {
        let number = libc::EMFILE;
        for error in [
            failed(io::Error::from_raw_os_error(number)),
            failed(rustix::io::Errno::from_raw_os_error(number)),
            failed(libbpf_rs::Error::from_raw_os_error(number)),
        ] {
            assert_eq!(error.errno(), Some(number));
            assert!(error.remedy().unwrap().contains("ulimit -n"), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_error_of_the_kernel_has_no_remedy_of_its_own() {
        for error in [
            failed("odd"),
            failed(io::Error::from_raw_os_error(libc::ENOENT)),
        ] {
            assert_eq!(error.remedy(), None);
        }
    }

    #[test]
    fn an_error_says_its_reason_once_and_its_sources_say_the_rest() {
        let error = failed(io::Error::from_raw_os_error(libc::EBUSY)).during("attach");
        let cause = io::Error::from_raw_os_error(libc::EBUSY);
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!(error.to_string(), "attach");
        let sources = std::iter::successors(error.source(), |&error| error.source());
        let sources: Vec<_> = sources.map(ToString::to_string).collect();
        assert_eq!(sources, ["try".into(), cause.to_string()]);
        assert_eq!(format!("{error:#}"), format!("attach: try: {cause}"));
        assert_eq!(
            error.remedy(),
            Some("somebody else uses it just now: try again")
        );
        let own = Error::new(ErrorKind::Invalid, "label", "there is no =");
        assert_eq!(own.to_string(), "label: there is no =");
        assert!(own.source().is_none());
    }
}
