//! The layout of the datapath's pins.
//!
//! ```text
//! BPFFS/pktmeta/layout                      the version of the layout, and of pktmeta
//! BPFFS/pktmeta/maps/...                    maps that all of the following share
//! BPFFS/pktmeta/cgroups/ID/                 links and maps of one cgroup, its ring among them
//! BPFFS/pktmeta/interfaces/NETNS-IFINDEX/   links and maps of one interface
//! BPFFS/pktmeta-aside/...                   the same, of parts that are being made or taken down
//! BPFFS/pktmeta-lock/                       held by the command that changes something
//! BPFFS/pktmeta-registry                    the fields, see registry.rs
//! BPFFS/pktmeta-names                       the names of their values, see names.rs
//! BPFFS/pktmeta-secret                      the secret that proves records, for root alone
//! ```
//!
//! A cgroup or interface is up while its directory is below `pktmeta`, where one rename puts it and
//! from where one rename takes it. Parts that are aside are not up, and the next command that has
//! the lock removes them ([`settle`]). So a command can be killed at any point.

use crate::{
    dir::Dir,
    error::{Error, ErrorKind, Shown},
    hook::Target,
    hooks, ring,
    stores::{self, Scope},
    sys,
};
use pktmeta_core::pins::{CGROUPS, DATAPATH};
use std::{os::fd::AsFd, path::PathBuf};

/// A directory of pins that has the layout above.
#[derive(Debug)]
pub(crate) struct Pins {
    dir: Dir,
}

impl Pins {
    /// The pins of the datapath that is up, if there is one.
    pub(crate) fn of_datapath(root: &Dir) -> Result<Option<Self>, Error> {
        Self::open(root, DATAPATH)
    }

    /// The pins of the datapath that is up, or will be.
    pub(crate) fn for_datapath(root: &Dir) -> Result<Self, Error> {
        Self::create(root, DATAPATH)
    }

    /// A place for parts that are being made or taken down.
    pub(crate) fn aside(root: &Dir) -> Result<Self, Error> {
        Self::create(root, ASIDE)
    }

    fn open(root: &Dir, name: &str) -> Result<Option<Self>, Error> {
        let Some(dir) = root.open(name)? else {
            return Ok(None);
        };
        let layout = dir.read_text(LAYOUT)?;
        let number = |text: &str| text.split(' ').next()?.parse().ok();
        let known = match &layout {
            Some(text) => number(text) == Some(VERSION),
            // The first thing that is made there, and the last that goes.
            None => dir.names()?.is_empty(),
        };
        match known {
            true => Ok(Some(Self { dir })),
            false => Err(other_layout(&dir, layout.as_deref())),
        }
    }

    fn create(root: &Dir, name: &str) -> Result<Self, Error> {
        let dir = match Self::open(root, name)? {
            Some(Self { dir }) => dir,
            None => root.create(name)?,
        };
        let text = format!("{VERSION} (pktmeta {})", env!("CARGO_PKG_VERSION"));
        dir.write_text(LAYOUT, &text)?;
        for part in [MAPS, CGROUPS, INTERFACES] {
            dir.create(part)?;
        }
        Ok(Self { dir })
    }

    /// The maps that all parts share.
    pub(crate) fn maps(&self) -> Result<Option<Dir>, Error> {
        self.dir.open(MAPS)
    }

    /// The cgroups that have pins, by the kernel's numbers of them.
    pub(crate) fn cgroup_ids(&self) -> Result<Vec<u64>, Error> {
        self.parts(CGROUPS, |name| name.parse().ok())
    }

    /// The pins of a cgroup.
    pub(crate) fn cgroup(&self, id: u64) -> Result<Option<Dir>, Error> {
        self.part(CGROUPS, &id.to_string())
    }

    /// The interfaces that have pins.
    pub(crate) fn interface_ids(&self) -> Result<Vec<InterfaceId>, Error> {
        self.parts(INTERFACES, InterfaceId::parse)
    }

    /// The pins of an interface.
    pub(crate) fn interface(&self, id: InterfaceId) -> Result<Option<Dir>, Error> {
        self.part(INTERFACES, &id.to_string())
    }

    /// A place for the pins of a cgroup.
    pub(crate) fn create_cgroup(&self, id: u64) -> Result<Dir, Error> {
        self.dir.create(CGROUPS)?.create(&id.to_string())
    }

    /// A place for the pins of an interface.
    pub(crate) fn create_interface(&self, id: InterfaceId) -> Result<Dir, Error> {
        self.dir.create(INTERFACES)?.create(&id.to_string())
    }

    /// Moves the pins of a cgroup: they are up, or are not, from one moment to the next.
    pub(crate) fn move_cgroup(&self, id: u64, to: &Self) -> Result<(), Error> {
        self.move_part(CGROUPS, &id.to_string(), to)
    }

    /// Moves the pins of an interface.
    pub(crate) fn move_interface(&self, id: InterfaceId, to: &Self) -> Result<(), Error> {
        self.move_part(INTERFACES, &id.to_string(), to)
    }

    /// True if nothing is up, whatever else is left.
    pub(crate) fn has_no_parts(&self) -> Result<bool, Error> {
        Ok(self.interface_ids()?.is_empty() && self.cgroup_ids()?.is_empty())
    }

    fn part(&self, kind: &str, name: &str) -> Result<Option<Dir>, Error> {
        match self.dir.open(kind)? {
            Some(parts) => parts.open(name),
            None => Ok(None),
        }
    }

    fn parts<T: Ord>(
        &self,
        kind: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let Some(parts) = self.dir.open(kind)? else {
            return Ok(Vec::new());
        };
        let names = parts.names()?;
        let mut parts: Vec<_> = names
            .iter()
            .filter_map(|name| parse(name.to_str()?))
            .collect();
        parts.sort();
        Ok(parts)
    }

    fn move_part(&self, kind: &str, name: &str, to: &Self) -> Result<(), Error> {
        let to = to.dir.create(kind)?;
        match self.dir.open(kind)? {
            Some(from) => from.rename(name, &to),
            None => Ok(()),
        }
    }

    /// Detaches every link, and removes every pin and the directory. Files of others stay and are
    /// returned. The hook that a packet meets first goes first.
    fn remove(self, root: &Dir, name: &str) -> Result<Vec<PathBuf>, Error> {
        let mut left = Vec::new();
        for (kind, target) in [(INTERFACES, Target::Interface), (CGROUPS, Target::Cgroup)] {
            let Some(parts) = self.dir.open(kind)? else {
                continue;
            };
            for part in parts.names()? {
                let part = part.to_string_lossy();
                match parts.open(&part) {
                    Ok(Some(pins)) => {
                        remove_part(&pins, target)?;
                        remove_directory(&parts, &part, &mut left)?;
                    }
                    Ok(None) => {}
                    Err(_) => left.push(parts.path_of(&part)),
                }
            }
            remove_directory(&self.dir, kind, &mut left)?;
        }
        if let Some(maps) = self.maps()? {
            stores::of(Scope::Sockets).try_for_each(|store| maps.unlink(store.pin))?;
            remove_directory(&self.dir, MAPS, &mut left)?;
        }
        let names = self.dir.names()?;
        left.extend(
            names
                .iter()
                .filter_map(|name| name.to_str())
                .filter(|name| ![LAYOUT, MAPS, CGROUPS, INTERFACES].contains(name))
                .map(|name| self.dir.path_of(name)),
        );
        if left.is_empty() {
            self.dir.unlink(LAYOUT)?;
            root.remove_dir(name)?;
        }
        Ok(left)
    }
}

/// Finishes the work of commands that were killed, and removes the rest of a datapath that nothing
/// uses any more. The lock is held. Files of others that are in the way are returned.
pub(crate) fn settle(root: &Dir) -> Result<Vec<PathBuf>, Error> {
    let mut left = Vec::new();
    if let Some(aside) = Pins::open(root, ASIDE)? {
        left = aside.remove(root, ASIDE)?;
    }
    if let Some(pins) = Pins::of_datapath(root)?
        && pins.has_no_parts()?
    {
        left.extend(pins.remove(root, DATAPATH)?);
    }
    Ok(left)
}

/// True if a command has begun something and not finished it; it may still run.
pub(crate) fn is_unsettled(root: &Dir) -> Result<bool, Error> {
    let empty = match Pins::of_datapath(root)? {
        Some(pins) => pins.has_no_parts()?,
        None => false,
    };
    Ok(empty || root.has(ASIDE)?)
}

/// The version of this layout. A command with another version refuses to touch the pins.
const VERSION: u32 = 1;

const ASIDE: &str = "pktmeta-aside";
const LAYOUT: &str = "layout";
const MAPS: &str = "maps";
const INTERFACES: &str = "interfaces";

/// An interface: its index when it was attached to, and the inode of its network namespace then. If
/// it has moved since and another interface has its index, that one is the second of this index,
/// and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InterfaceId {
    pub(crate) netns: u64,
    pub(crate) ifindex: u32,
    pub(crate) nth: u32,
}

impl InterfaceId {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (netns, ifindex) = (parts.next()?, parts.next()?);
        let nth = parts.next().map_or(Some(1), |nth| nth.parse().ok())?;
        let id = Self {
            netns: netns.parse().ok()?,
            ifindex: ifindex.parse().ok()?,
            nth,
        };
        (id.to_string() == name).then_some(id)
    }
}

impl std::fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            netns,
            ifindex,
            nth,
        } = self;
        match nth {
            1 => write!(f, "{netns}-{ifindex}"),
            _ => write!(f, "{netns}-{ifindex}-{nth}"),
        }
    }
}

/// Removes the pins of a cgroup or an interface.
fn remove_part(pins: &Dir, target: Target) -> Result<(), Error> {
    let stores = || hooks::of(target).flat_map(|hook| hook.stores);
    if stores().any(|store| store.pin == stores::RING.pin) {
        ring::close(pins);
    }
    for program in hooks::of(target).flat_map(|hook| hook.programs) {
        // The last reference to a link goes away some time after the pin; detaching is at once.
        if let Some(link) = pins.open_pin(program.name)? {
            // Fails where the interface or cgroup is gone, and with it the attachment.
            let _ = sys::link_detach(link.as_fd());
        }
        pins.unlink(program.name)?;
    }
    let own = stores()
        .filter(|store| store.scope == Scope::Part)
        .map(|store| store.pin);
    let counters = hooks::of(target).filter_map(|hook| hook.counters_map);
    own.chain(counters).try_for_each(|name| pins.unlink(name))
}

/// Removes a directory; if it is not empty, adds it to those that are left.
fn remove_directory(parent: &Dir, name: &str, left: &mut Vec<PathBuf>) -> Result<(), Error> {
    if parent.remove_dir(name)? {
        return Ok(());
    }
    if let Some(dir) = parent.open(name)? {
        let here = dir.path().to_owned();
        let names = dir.names()?.into_iter().map(|name| here.join(name));
        left.extend(
            names
                .filter(|path| !left.iter().any(|below| below.starts_with(path)))
                .collect::<Vec<_>>(),
        );
    }
    Ok(())
}

fn other_layout(dir: &Dir, layout: Option<&str>) -> Error {
    let theirs = layout.unwrap_or("older than layouts have numbers");
    let own = env!("CARGO_PKG_VERSION");
    let why = format!("its layout is {theirs}, and pktmeta {own} knows {VERSION}");
    let version = layout
        .and_then(|text| text.split_once('(')?.1.strip_suffix(')'))
        .unwrap_or("the pktmeta that brought it up");
    Error::new(
        ErrorKind::Unusable,
        format!("use the pins in {}", dir.path().shown()),
        why,
    )
    .with_remedy(format!(
        "take it down with the command that brought it up: `pktmeta down` of {version}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_reads_as_it_is_written_and_other_names_are_none() {
        for name in ["4026531840-5", "4026531840-5-2"] {
            assert_eq!(InterfaceId::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "5", "a-5", "4-5-1", "4-05", "4-5-2-7", "+4-5"] {
            assert_eq!(InterfaceId::parse(name), None, "{name}");
        }
    }
}
