//! What went wrong, why, and what to do.

use pktmeta_core::printable;
use std::{any::Any, ffi::OsStr, fmt, io, os::unix::ffi::OsStrExt, path::Path};

/// A failed operation on the datapath.
#[derive(Clone, Debug)]
pub struct Error {
    tried: String,
    why: String,
    remedy: Option<String>,
    errno: Option<i32>,
}

impl Error {
    /// `tried` failed because of `why`.
    pub(crate) fn new(tried: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            tried: tried.into(),
            why: why.to_string(),
            remedy: None,
            errno: None,
        }
    }

    /// `tried` failed because of an error of the kernel, if `why` is one: then it says what to do.
    pub(crate) fn of(tried: impl Into<String>, why: &(impl fmt::Display + 'static)) -> Self {
        let errno = errno(why);
        Self {
            remedy: errno.and_then(remedy_of).map(Into::into),
            errno,
            ..Self::new(tried, why)
        }
    }

    pub(crate) fn without_remedy(self) -> Self {
        Self {
            remedy: None,
            ..self
        }
    }

    /// What to do if nothing is known that fits better.
    pub(crate) fn or_remedy(self, remedy: impl Into<String>) -> Self {
        match self.remedy {
            Some(_) => self,
            None => self.remedy(remedy),
        }
    }

    /// The same error of a larger undertaking.
    pub(crate) fn during(self, tried: impl Into<String>) -> Self {
        Self {
            why: self.line(),
            tried: tried.into(),
            ..self
        }
    }

    /// The same error, told at more length.
    pub(crate) fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ..self
        }
    }

    /// What the kernel said, if it was the kernel.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.errno
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

    /// What was being done and why it failed, in a line.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.tried, self.why)
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

impl<T, E: fmt::Display + 'static> Context<T> for Result<T, E> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::of(tried(), &error))
    }
}

/// A name of others in a message, a path for one: it can neither break a line nor move the cursor.
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
fn errno(error: &dyn Any) -> Option<i32> {
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

/// What to do about an error of the kernel, whatever was tried.
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

    fn failed(error: impl fmt::Display + 'static) -> Error {
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
            assert!(error.to_string().contains("ulimit -n"), "{error}");
        }
    }

    #[test]
    fn what_is_no_error_of_the_kernel_has_no_remedy_of_its_own() {
        for error in [
            failed("odd"),
            failed(io::Error::from_raw_os_error(libc::ENOENT)),
        ] {
            assert_eq!(error.remedy_text(), None);
        }
    }
}
