//! The datapath: up, down, status.

mod registration;
mod ring;
mod status;
mod up;

pub(crate) use registration::builtin_fields;
pub use status::{Delivery, HookStatus, InterfaceStatus, Status};
pub use up::{AttachMode, Up, UpOptions};

use crate::{
    error::{Context, Error},
    host,
    pins::{self, InterfaceId, Pins, Staging},
    registry::HostRegistry,
    sys,
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// The datapath of this host, or of another bpffs in tests.
#[derive(Clone, Debug)]
pub struct Datapath {
    bpffs: PathBuf,
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
            bpffs: bpffs.into(),
        }
    }

    /// Labels the packets of an interface and delivers their records to the sockets of a cgroup.
    /// What it attaches stays when the caller ends. Kernel 6.6 (TCX).
    ///
    /// # Errors
    /// Something is missing, taken or refused. Nothing stays behind then.
    pub fn up(&self, options: &UpOptions) -> Result<Up, Error> {
        up::up(self, options)
    }

    /// Detaches from one interface, or from all; with the last one everything goes.
    ///
    /// # Errors
    /// The interface is not labelled by us, or the kernel refuses.
    pub fn down(&self, interface: Option<&str>) -> Result<Down, Error> {
        host::check_capabilities()?;
        let nothing = Down {
            interfaces: Vec::new(),
            everything: true,
        };
        let pins = self.pins();
        if !host::is_bpffs(&self.bpffs) {
            return match interface {
                Some(name) => Err(not_up(name)),
                None => Ok(nothing),
            };
        }
        let lock = self.lock()?;
        Staging::leftover(&self.bpffs).remove()?;
        let here = host::network_namespace()?;
        let all = pins.interface_ids();
        let wanted: Vec<InterfaceId> = match interface {
            None => all.clone(),
            Some(name) => {
                let id = find_interface(name)?;
                all.iter().copied().filter(|&other| other == id).collect()
            }
        };
        if let (Some(name), true) = (interface, wanted.is_empty()) {
            return Err(not_up(name));
        }
        let mut interfaces = Vec::new();
        for &id in &wanted {
            interfaces.push(status::interface(&pins, id, here).label());
            pins.interface(id).remove()?;
        }
        let everything = wanted.len() == all.len();
        if everything {
            ring::close(&pins);
            pins.remove()?;
            self.registry().forget_unkept()?;
            drop(lock);
            host::unmount_own_bpffs(&self.bpffs)
                .context(|| format!("unmount {}", self.bpffs.display()))?;
        }
        Ok(Down {
            interfaces,
            everything,
        })
    }

    /// What is attached where, and what it counted; `None` if nothing is.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn status(&self) -> Result<Option<Status>, Error> {
        status::status(self)
    }

    /// The fields of this host and their numbers.
    #[must_use]
    pub fn registry(&self) -> HostRegistry {
        HostRegistry::new(&self.bpffs)
    }

    fn pins(&self) -> Pins {
        Pins::datapath(&self.bpffs)
    }

    fn lock(&self) -> Result<OwnedFd, Error> {
        pins::lock(&self.bpffs)
    }
}

/// What `down` removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Names of the interfaces, or what is known of those that are gone.
    pub interfaces: Vec<String>,
    /// True if nothing of the datapath is left.
    pub everything: bool,
}

fn find_interface(name: &str) -> Result<InterfaceId, Error> {
    let tried = || format!("find interface {name:?}");
    let ifindex = sys::interface_index(name).map_err(|error| {
        Error::new(tried(), error)
            .remedy("`ip link` lists the interfaces of this network namespace")
    })?;
    Ok(InterfaceId {
        netns: host::network_namespace()?,
        ifindex,
    })
}

fn not_up(interface: &str) -> Error {
    Error::new(
        format!("take pktmeta off {interface}"),
        "it is not on that interface",
    )
    .remedy("`pktmeta status` lists where it is")
}
