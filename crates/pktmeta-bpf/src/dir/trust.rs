//! Owners that root can trust, and the errors for other people's entries.

use crate::{
    error::{Error, ErrorKind, Shown},
    sys,
};
use rustix::fs::Stat;
use std::{fmt, path::Path};

/// True if root or this process' user owns it.
pub(crate) fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// A user whom messages name.
pub(crate) struct Owner(pub(crate) u32);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match sys::user_name(self.0) {
            Some(name) => write!(f, "user {} ({name})", self.0),
            None => write!(f, "user {}", self.0),
        }
    }
}

/// The error for an entry that another user made.
pub(crate) fn untrusted(path: &Path, owner: Owner) -> Error {
    let tried = format!("trust {}", path.shown());
    let why = format!("it belongs to {owner}, who could lead this command elsewhere");
    Error::new(ErrorKind::Unusable, tried, why).with_remedy(format!(
        "look at it and remove it (`rm -r {}`), or name another bpffs with --bpffs; one of mode \
         755 keeps others from making names in it",
        path.shown()
    ))
}

pub(super) fn not_ours(path: &Path, why: &str) -> Error {
    let remedy = format!("look at it and remove it: rm {}", path.shown());
    Error::new(ErrorKind::Unusable, format!("use {}", path.shown()), why).with_remedy(remedy)
}
