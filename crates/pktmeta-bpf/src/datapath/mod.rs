//! The datapath: up, down, status.

mod delivery;
mod down;
mod hook_status;
mod interface;
mod labels;
mod link_type;
mod options;
mod registration;
mod status;
mod up;

pub use delivery::Delivery;
pub use down::{Down, Part};
pub use hook_status::HookStatus;
pub use interface::InterfaceStatus;
pub use labels::{InterfaceChanged, InterfaceLabels};
pub use options::{AttachMode, Senders, UpOptions};
pub(crate) use registration::builtin_fields;
pub use status::{DeliveryStatus, Status};
pub use up::Up;

use crate::{bpffs::Bpffs, error::Error, host, labels::Change, pins::Pins, registry::HostRegistry};
use std::{ffi::OsStr, path::Path, time::Duration};

/// The datapath of this host, or of another bpffs in tests.
#[derive(Clone, Debug)]
pub struct Datapath {
    bpffs: Bpffs,
}

impl Default for Datapath {
    fn default() -> Self {
        Self::new(Path::new(host::BPFFS))
    }
}

impl Datapath {
    /// The datapath whose pins are in this bpffs.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self {
            bpffs: Bpffs::new(bpffs),
        }
    }

    /// How long to wait for another command that changes something there; 30 seconds otherwise.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self {
            bpffs: self.bpffs.waiting(wait),
        }
    }

    /// Labels the packets of an interface and delivers their records to the sockets of a cgroup.
    /// What it attaches stays when the caller ends. Kernel 6.6 (TCX).
    ///
    /// # Errors
    /// Something is missing, taken or refused. Then nothing stays behind.
    pub fn up(&self, options: &UpOptions) -> Result<Up, Error> {
        up::up(&self.bpffs, &self.registry(), options)
    }

    /// Takes a part of the datapath down, and that alone; with the last part everything goes.
    ///
    /// A killed `down` is finished by the next, or by the next `up`.
    ///
    /// # Errors
    /// The part is not there, or the kernel refuses.
    pub fn down(&self, part: Part<'_>) -> Result<Down, Error> {
        down::down(&self.bpffs, &self.registry(), part)
    }

    /// The programs that are attached, where the kernel runs them, and their counters.
    ///
    /// # Errors
    /// This process may not look.
    pub fn status(&self) -> Result<Status, Error> {
        status::status(&self.bpffs, &self.registry())
    }

    /// The labels of an interface in the network namespace of the calling thread, or of all.
    ///
    /// # Errors
    /// No packets are labelled there, or this process may not look.
    pub fn labels(&self, interface: Option<&OsStr>) -> Result<Vec<InterfaceLabels>, Error> {
        labels::list(&self.bpffs, &self.registry(), interface)
    }

    /// Changes the labels of an interface, or of all, while packets are labelled: each packet gets
    /// the old labels or the new ones.
    ///
    /// # Errors
    /// A label is wrong, or there is no room for it: then nothing has changed. The kernel refuses a
    /// change: then some labels may have changed.
    pub fn change_labels(
        &self,
        interface: Option<&OsStr>,
        change: &Change,
    ) -> Result<Vec<InterfaceChanged>, Error> {
        labels::change(&self.bpffs, &self.registry(), interface, change)
    }

    /// The fields of this host and their numbers.
    #[must_use]
    pub fn registry(&self) -> HostRegistry {
        HostRegistry::of(self.bpffs.clone())
    }

    /// The pins of a datapath that is up.
    pub(crate) fn pins(&self) -> Result<Option<Pins>, Error> {
        match self.bpffs.open()? {
            Some(root) => Pins::of_datapath(&root),
            None => Ok(None),
        }
    }
}
