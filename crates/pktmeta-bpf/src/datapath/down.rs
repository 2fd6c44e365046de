//! `down`: parts leave the datapath, and everything that is aside is removed.

use super::{
    delivery::PinnedDelivery,
    interface::{self, PinnedInterface},
};
use crate::{
    bpffs::{Bpffs, Locked},
    error::{Error, ErrorKind, Shown},
    host,
    pins::{self, Pins},
    registry::HostRegistry,
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The part of a datapath that `down` takes down.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// All of it.
    Everything,
    /// The programs that label packets of an interface in the calling thread's network namespace.
    Interface(&'a OsStr),
    /// The programs that deliver to the sockets of a cgroup.
    Cgroup(&'a Path),
}

impl Part<'_> {
    fn not_up(self) -> Error {
        let (tried, why) = match self {
            Self::Everything => ("take pktmeta down".into(), "it is not up"),
            Self::Interface(name) => (
                format!("take pktmeta off {}", name.shown()),
                "it is not on that interface",
            ),
            Self::Cgroup(path) => (
                format!("end the delivery to {}", path.shown()),
                "nothing is delivered to that cgroup",
            ),
        };
        Error::new(ErrorKind::NotFound, tried, why)
            .with_remedy("`pktmeta status` lists where it is")
    }
}

/// The parts that `down` removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Down {
    /// The names of interfaces and cgroups in messages; of those that are gone, a description.
    pub parts: Vec<String>,
    /// True if nothing of the datapath is left.
    pub everything: bool,
    /// Files of others among pktmeta's pins, which are still there.
    pub left: Vec<PathBuf>,
}

impl Down {
    fn nothing() -> Self {
        Self {
            parts: Vec::new(),
            everything: true,
            left: Vec::new(),
        }
    }
}

pub(super) fn down(bpffs: &Bpffs, registry: &HostRegistry, part: Part<'_>) -> Result<Down, Error> {
    host::check_capabilities()?;
    let down = match bpffs.open()? {
        Some(root) => take_down(&bpffs.lock(root)?, registry, part)?,
        None => Down::nothing(),
    };
    if !matches!(part, Part::Everything) && down.parts.is_empty() {
        return Err(part.not_up());
    }
    Ok(down)
}

/// Moves each part aside by one rename, writers of records before their readers, and then removes
/// the parts that are aside. If this command is killed, the next one removes them.
fn take_down(locked: &Locked, registry: &HostRegistry, part: Part<'_>) -> Result<Down, Error> {
    let root = locked.root();
    let mut left = settle(locked, registry)?;
    let Some(pins) = Pins::of_datapath(root)? else {
        return Ok(Down {
            left,
            ..Down::nothing()
        });
    };
    let mut interfaces = Vec::new();
    let mut deliveries = Vec::new();
    match part {
        Part::Everything => {
            interfaces = PinnedInterface::all(&pins)?;
            deliveries = PinnedDelivery::all(&pins)?;
        }
        Part::Interface(name) => {
            interfaces = PinnedInterface::all(&pins)?;
            let here = host::network_namespace()?;
            let (ifindex, program) = interface::find(name)?;
            interfaces.retain(|pinned| {
                let was_here = (pinned.id.netns, pinned.id.ifindex) == (here, ifindex);
                let had = was_here && pinned.has_ended();
                had || program.is_some_and(|program| pinned.runs(program))
            });
        }
        Part::Cgroup(path) => {
            let id = host::cgroup_id(&host::open_cgroup(path)?)?;
            deliveries = PinnedDelivery::all(&pins)?;
            deliveries.retain(|pinned| pinned.delivery.cgroup_id == id);
        }
    }
    let mut parts = Vec::new();
    if !interfaces.is_empty() || !deliveries.is_empty() {
        let aside = Pins::aside(root)?;
        for pinned in interfaces {
            parts.push(pinned.status()?.label());
            pins.move_interface(pinned.id, &aside)?;
        }
        for pinned in deliveries {
            parts.push(pinned.delivery.label());
            pins.move_cgroup(pinned.delivery.cgroup_id, &aside)?;
        }
        drop((pins, aside));
        left = settle(locked, registry)?;
    }
    let everything =
        Pins::of_datapath(root)?.is_none_or(|pins| pins.has_no_parts().unwrap_or_default());
    Ok(Down {
        parts,
        everything,
        left,
    })
}

/// Finishes the work of commands that were killed. Without a datapath, only fields that were
/// registered to stay do so. Returns files of others that are in the way.
pub(super) fn settle(locked: &Locked, registry: &HostRegistry) -> Result<Vec<PathBuf>, Error> {
    let left = pins::settle(locked.root())?;
    let up = match Pins::of_datapath(locked.root())? {
        Some(pins) => !pins.has_no_parts()?,
        None => false,
    };
    if !up {
        registry.forget_unkept(locked.root())?;
    }
    Ok(left)
}
