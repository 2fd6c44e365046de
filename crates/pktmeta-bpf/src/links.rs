//! The state of pinned links in the kernel. A pin is only a way to its link.

use crate::{
    dir::Dir,
    error::{Error, Shown},
    hook::Program,
    sys,
};
use std::os::fd::AsFd;

/// Whether a link runs its program where it was attached.
#[derive(Debug)]
pub(crate) enum Link {
    /// The program runs: on this interface (its present index) or in this cgroup (its number).
    Attached { target: u64, program: u32 },
    /// The kernel has detached it: the interface or cgroup is gone, or somebody detached it.
    Detached,
    /// Nothing is pinned under its name, or something else.
    Missing,
    /// This process cannot look.
    Unknown(Error),
}

impl Link {
    /// The link of `program` that is pinned in a directory.
    pub(crate) fn of(pins: &Dir, program: &Program) -> Self {
        let tried = || format!("look at the link {}", pins.path_of(program.name).shown());
        let link = match pins.open_pin(program.name) {
            Ok(Some(link)) => link,
            Ok(None) => return Self::Missing,
            Err(error) => return Self::Unknown(error),
        };
        match sys::link_info(link.as_fd()) {
            // Not a link, or none of the program's kind.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Self::Missing,
            Err(error) => Self::Unknown(Error::of(tried(), error)),
            Ok(info) => match sys::link_target(&info) {
                None => Self::Missing,
                Some(0) => Self::Detached,
                Some(target) => Self::Attached {
                    target,
                    program: info.prog_id,
                },
            },
        }
    }
}

/// Whether the kernel runs programs where they should run.
///
/// Exhaustive: a look at links ends in one of three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// All of them.
    Yes,
    /// Some or all are detached, or their pins are gone.
    No,
    /// This process cannot look, for this reason.
    Unknown(String),
}

impl Attached {
    /// The state of several links: known only if all are.
    pub(crate) fn all<'a>(links: impl IntoIterator<Item = &'a Link>) -> Self {
        let mut all = Self::Yes;
        for link in links {
            match link {
                Link::Attached { .. } => {}
                Link::Detached | Link::Missing => return Self::No,
                Link::Unknown(error) => all = Self::Unknown(error.line()),
            }
        }
        all
    }
}
