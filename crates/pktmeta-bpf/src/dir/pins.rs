//! Pinned BPF objects in a trusted directory.

use super::{
    directory::Dir,
    trust::{Owner, is_ours, not_ours, untrusted},
};
use crate::{
    error::{Context, Error, ErrorKind, Shown},
    sys,
};
use libbpf_rs::MapHandle;
use rustix::fs::FileType;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

impl Dir {
    /// Pins a BPF object.
    pub(crate) fn pin(&self, object: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
        sys::pin(object, self.fd.as_fd(), name)
            .context(|| format!("pin {}", self.path_of(name).shown()))
    }

    /// Opens a pinned BPF object, if it is there.
    pub(crate) fn open_pin(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        if !self.has_pin(name)? {
            return Ok(None);
        }
        match sys::open_pin(self.fd.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened
                .context(|| format!("open {}", self.path_of(name).shown()))
                .map(Some),
        }
    }

    /// Opens a pinned map that has to be there.
    pub(crate) fn open_map(&self, name: &str) -> Result<MapHandle, Error> {
        let tried = || format!("open the map {}", self.path_of(name).shown());
        if !self.has_pin(name)? {
            let remedy = "somebody removed it: run `pktmeta down`, then `pktmeta up`";
            return Err(
                Error::new(ErrorKind::NotFound, tried(), "it is not there").with_remedy(remedy)
            );
        }
        MapHandle::from_pinned_path(self.path_by_fd(name)).context(tried)
    }

    /// True if there is a pin that may be opened.
    fn has_pin(&self, name: &str) -> Result<bool, Error> {
        let Some(stat) = self.stat(name)? else {
            return Ok(false);
        };
        let path = self.path_of(name);
        // The kernel follows a symbolic link in the place of a pin (bpf_obj_do_get).
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_ours(&path, "it is no pin"));
        }
        if self.shared && !is_ours(&stat) {
            return Err(untrusted(&path, Owner(stat.st_uid)));
        }
        Ok(true)
    }
}
