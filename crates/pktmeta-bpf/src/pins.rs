//! Where the datapath's links and maps are pinned.
//!
//! ```text
//! BPFFS/pktmeta/maps/...                    shared by all of the following
//! BPFFS/pktmeta/cgroups/ID/                 links and maps of one cgroup, its ring among them
//! BPFFS/pktmeta/interfaces/NETNS-IFINDEX/   links and maps of one interface
//! BPFFS/pktmeta-new/...                     what an `up` under way has made so far
//! BPFFS/pktmeta-registry                    the fields, see registry.rs
//! BPFFS/pktmeta-secret                      what proves records, for root alone
//! ```

use crate::{
    error::{Context, Error},
    sys,
};
use libbpf_rs::MapHandle;
use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

/// A directory of pins.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    pub(crate) directory: PathBuf,
}

impl Pins {
    /// The datapath of a bpffs.
    pub(crate) fn datapath(bpffs: &Path) -> Self {
        Self {
            directory: bpffs.join("pktmeta"),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    pub(crate) fn maps(&self) -> PathBuf {
        self.directory.join("maps")
    }

    pub(crate) fn cgroups(&self) -> PathBuf {
        self.directory.join("cgroups")
    }

    /// Where a cgroup has its pins, by the kernel's number of it.
    pub(crate) fn cgroup(&self, id: u64) -> Self {
        Self {
            directory: self.cgroups().join(id.to_string()),
        }
    }

    /// The cgroups that have pins.
    pub(crate) fn cgroup_ids(&self) -> Vec<u64> {
        names(&self.cgroups(), |name| name.parse().ok())
    }

    pub(crate) fn interfaces(&self) -> PathBuf {
        self.directory.join("interfaces")
    }

    /// Where an interface has its pins.
    pub(crate) fn interface(&self, id: InterfaceId) -> Self {
        Self {
            directory: self.interfaces().join(id.to_string()),
        }
    }

    /// The interfaces that have pins.
    pub(crate) fn interface_ids(&self) -> Vec<InterfaceId> {
        names(&self.interfaces(), InterfaceId::parse)
    }

    /// Detaches every link and removes every pin below, and the directory.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        remove_tree(&self.directory).context(|| format!("remove {}", self.directory.display()))
    }
}

/// What an `up` makes until all of it works: dropped before that, it undoes everything.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(crate) pins: Pins,
}

impl Staging {
    /// An empty place.
    pub(crate) fn new(bpffs: &Path) -> Result<Self, Error> {
        let pins = Self::leftover(bpffs);
        create(&pins.directory)?;
        Ok(Self { pins })
    }

    /// What a killed `up` may have left.
    pub(crate) fn leftover(bpffs: &Path) -> Pins {
        Pins {
            directory: bpffs.join("pktmeta-new"),
        }
    }

    /// Makes it all permanent: what was made becomes part of `datapath`, or all of it.
    pub(crate) fn commit(self, datapath: &Pins) -> Result<(), Error> {
        let made = &self.pins;
        if !datapath.exists() {
            return rename(&made.directory, &datapath.directory);
        }
        for id in made.cgroup_ids() {
            rename(&made.cgroup(id).directory, &datapath.cgroup(id).directory)?;
        }
        for id in made.interface_ids() {
            rename(
                &made.interface(id).directory,
                &datapath.interface(id).directory,
            )?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = self.pins.remove() {
            eprintln!("pktmeta: {error}");
        }
    }
}

/// An interface: its index, and the inode of the network namespace in which it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InterfaceId {
    pub(crate) netns: u64,
    pub(crate) ifindex: u32,
}

impl InterfaceId {
    fn parse(name: &str) -> Option<Self> {
        let (netns, ifindex) = name.split_once('-')?;
        Some(Self {
            netns: netns.parse().ok()?,
            ifindex: ifindex.parse().ok()?,
        })
    }
}

impl std::fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.netns, self.ifindex)
    }
}

/// Keeps other commands from changing anything in a bpffs while the result lives.
pub(crate) fn lock(bpffs: &Path) -> Result<OwnedFd, Error> {
    let tried = || format!("lock {}", bpffs.display());
    let directory = fs::File::open(bpffs).context(tried)?;
    sys::lock(directory.as_fd()).context(tried)?;
    Ok(directory.into())
}

/// Opens a pinned map.
pub(crate) fn open_map(path: &Path) -> Result<MapHandle, Error> {
    MapHandle::from_pinned_path(path).map_err(|error| {
        Error::new(
            format!("open the map {}", path.display()),
            format!("{error:#}"),
        )
        .remedy("the datapath is damaged: run `pktmeta down`, then `pktmeta up`")
    })
}

/// Creates a directory in bpffs, and those above it, which everybody may pass: the owner of a cgroup
/// opens its ring.
pub(crate) fn create(directory: &Path) -> Result<(), Error> {
    let tried = || format!("create {}", directory.display());
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        create(above)?;
    }
    fs::create_dir(directory).context(tried)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).context(tried)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).context(|| format!("rename {} to {}", from.display(), to.display()))
}

/// What the entries of a directory are called, as far as they read.
fn names<T: Ord>(directory: &Path, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter_map(|name| parse(&name)).collect();
    names.sort();
    names
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            remove_tree(&path)?;
            continue;
        }
        // The last reference to a link goes away some time after the pin; detaching is at once.
        if let Ok(object) = sys::open_pin(&path)
            && sys::link_info(object.as_fd()).is_ok()
        {
            // Fails where the interface or cgroup is gone, and with it the attachment.
            let _ = sys::link_detach(object.as_fd());
        }
        fs::remove_file(&path)?;
    }
    fs::remove_dir(directory)
}
