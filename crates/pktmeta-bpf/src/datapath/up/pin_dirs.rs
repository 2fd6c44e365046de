//! Where the maps of a part are pinned.

use crate::{dir::Dir, stores::Scope};
use std::path::PathBuf;

/// The directories of pins that the programs of a part use.
pub(super) struct PinDirs<'a> {
    /// The part's own.
    pub(super) own: &'a Dir,
    /// That of all sockets.
    pub(super) shared: &'a Dir,
    /// That of the bpffs.
    pub(super) root: &'a Dir,
}

impl PinDirs<'_> {
    /// Where libbpf finds a pin.
    pub(super) fn path(&self, pin: &str, scope: Scope) -> PathBuf {
        match scope {
            Scope::Part => self.own.path_by_fd(pin),
            Scope::Sockets => self.shared.path_by_fd(pin),
            Scope::Host => self.root.path_by_fd(pin),
        }
    }
}
