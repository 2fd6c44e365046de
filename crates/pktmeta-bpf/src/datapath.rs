//! The datapath: up, down, status.

mod delivery;
mod registration;
mod ring;
mod status;
mod up;

pub use delivery::Delivery;
pub(crate) use registration::builtin_fields;
pub use status::{DeliveryStatus, HookStatus, InterfaceStatus, Status};
pub use up::{AttachMode, Senders, Up, UpOptions};

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

    /// Takes a part of the datapath down; with the last interface, or the last part, everything goes.
    ///
    /// # Errors
    /// The part is not there, or the kernel refuses.
    pub fn down(&self, part: Part<'_>) -> Result<Down, Error> {
        host::check_capabilities()?;
        let pins = self.pins();
        if !host::is_bpffs(&self.bpffs) {
            return match part {
                Part::Everything => Ok(Down {
                    parts: Vec::new(),
                    everything: true,
                }),
                part => Err(part.not_up()),
            };
        }
        let lock = self.lock()?;
        Staging::leftover(&self.bpffs).remove()?;
        let here = host::network_namespace()?;
        let mut interfaces = pins.interface_ids();
        let mut cgroups = Delivery::all(&pins);
        match part {
            Part::Everything => {}
            Part::Interface(name) => {
                let id = find_interface(name)?;
                interfaces.retain(|&other| other == id);
                cgroups.clear();
            }
            Part::Cgroup(path) => {
                let id = delivery::Cgroup::open(path)?.id();
                cgroups.retain(|other| other.cgroup_id == id);
                interfaces.clear();
            }
        }
        if !matches!(part, Part::Everything) && interfaces.is_empty() && cgroups.is_empty() {
            return Err(part.not_up());
        }
        let mut parts = Vec::new();
        for &id in &interfaces {
            parts.push(status::interface(&pins, id, here).label());
            pins.interface(id).remove()?;
        }
        for delivery in &cgroups {
            let own = pins.cgroup(delivery.cgroup_id);
            parts.push(delivery.label());
            ring::close(&own.directory);
            own.remove()?;
        }
        let no_interfaces = pins.interface_ids().is_empty();
        let everything = match part {
            Part::Everything => true,
            Part::Interface(_) => no_interfaces,
            Part::Cgroup(_) => no_interfaces && pins.cgroup_ids().is_empty(),
        };
        if everything {
            for id in pins.cgroup_ids() {
                ring::close(&pins.cgroup(id).directory);
            }
            pins.remove()?;
            self.registry().forget_unkept()?;
            drop(lock);
            host::unmount_own_bpffs(&self.bpffs)
                .context(|| format!("unmount {}", self.bpffs.display()))?;
        }
        Ok(Down { parts, everything })
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

    pub(crate) fn pins(&self) -> Pins {
        Pins::datapath(&self.bpffs)
    }

    fn lock(&self) -> Result<OwnedFd, Error> {
        pins::lock(&self.bpffs)
    }
}

/// What `down` is to take down.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// All there is.
    Everything,
    /// What labels the packets of an interface, in the network namespace of the calling thread.
    Interface(&'a str),
    /// What delivers to the sockets of a cgroup.
    Cgroup(&'a Path),
}

impl Part<'_> {
    fn not_up(self) -> Error {
        let (tried, why) = match self {
            Self::Everything => ("take pktmeta down".into(), "it is not up"),
            Self::Interface(name) => (
                format!("take pktmeta off {name}"),
                "it is not on that interface",
            ),
            Self::Cgroup(path) => (
                format!("end the delivery to {}", path.display()),
                "nothing is delivered to that cgroup",
            ),
        };
        Error::new(tried, why).remedy("`pktmeta status` lists where it is")
    }
}

/// What `down` removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Names of interfaces and cgroups, or what is known of those that are gone.
    pub parts: Vec<String>,
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
