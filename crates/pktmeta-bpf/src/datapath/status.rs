//! The datapath as it is.

use super::{Datapath, ring};
use crate::{
    error::{Context, Error},
    hooks::{self, Hook},
    host,
    pins::{self, InterfaceId, Pins},
    sys::{self, ProgramStats},
};
use pktmeta_core::FieldInfo;
use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// The datapath as it is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Interfaces that label packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// The hooks of the cgroup.
    pub cgroup: Vec<HookStatus>,
    /// Where records are delivered; `None` if the cgroup is gone.
    pub delivery: Option<Delivery>,
    /// The registered fields.
    pub fields: Vec<FieldInfo>,
    /// Slots of the ring.
    pub slots: u32,
}

/// An interface that labels packets.
#[derive(Clone, Debug)]
pub struct InterfaceStatus {
    /// Its name, if it is in this network namespace.
    pub name: Option<String>,
    /// Its index.
    pub ifindex: u32,
    /// Inode of its network namespace.
    pub netns: u64,
    /// False if the interface is gone.
    pub attached: bool,
    /// Its hooks.
    pub hooks: Vec<HookStatus>,
}

impl InterfaceStatus {
    /// The name, or what there is instead.
    #[must_use]
    pub fn label(&self) -> String {
        let Self {
            name,
            ifindex,
            netns,
            attached,
            ..
        } = self;
        match name {
            Some(name) => name.clone(),
            None if *attached => format!("interface {ifindex} of network namespace {netns}"),
            None => format!("interface {ifindex} of network namespace {netns}, gone"),
        }
    }
}

/// A hook as it is.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// The hook.
    pub hook: &'static Hook,
    /// The programs that run there.
    pub programs: Vec<ProgramStats>,
    /// Its counters, in the hook's order.
    pub counters: Vec<u64>,
}

impl HookStatus {
    /// The counter called `name`.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        let at = self
            .hook
            .counters
            .iter()
            .position(|counter| counter.name == name)?;
        self.counters.get(at).copied()
    }
}

/// Where records are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The kernel's number of the cgroup.
    pub cgroup_id: u64,
    /// Its path when `up` attached to it.
    pub cgroup: String,
}

pub(super) fn status(datapath: &Datapath) -> Result<Option<Status>, Error> {
    host::check_capabilities()?;
    let pins = datapath.pins();
    if !pins.exists() {
        return Ok(None);
    }
    let here = host::network_namespace()?;
    let ids = pins.interface_ids();
    let registry = datapath.registry().read()?;
    Ok(Some(Status {
        interfaces: ids
            .into_iter()
            .map(|id| interface(&pins, id, here))
            .collect(),
        cgroup: hooks::CGROUP
            .iter()
            .map(|hook| hook_status(hook, &pins.links(), &pins.maps()))
            .collect(),
        delivery: delivery(&pins),
        fields: registry.fields().to_vec(),
        slots: ring::slots(&pins).unwrap_or(0),
    }))
}

/// An interface that has pins; `here` is the network namespace of the calling thread.
pub(super) fn interface(pins: &Pins, id: InterfaceId, here: u64) -> InterfaceStatus {
    let own = pins.interface(id);
    let program = hooks::xdp::HOOK
        .programs
        .first()
        .map_or("", |program| program.name);
    let attached = sys::open_pin(&own.directory.join(program))
        .and_then(|link| sys::link_info(link.as_fd()))
        .is_ok_and(|info| sys::link_ifindex(&info) != 0);
    InterfaceStatus {
        name: if attached && id.netns == here {
            sys::interface_name(id.ifindex)
        } else {
            None
        },
        ifindex: id.ifindex,
        netns: id.netns,
        attached,
        hooks: hooks::INTERFACE
            .iter()
            .map(|hook| hook_status(hook, &own.directory, &own.directory))
            .collect(),
    }
}

fn hook_status(hook: &'static Hook, links: &Path, maps: &Path) -> HookStatus {
    let stats = |program: &hooks::Program| {
        let link = sys::open_pin(&links.join(program.name)).ok()?;
        let program = sys::program_by_id(sys::link_info(link.as_fd()).ok()?.prog_id).ok()?;
        ProgramStats::of(program.as_fd()).ok()
    };
    HookStatus {
        hook,
        programs: hook.programs.iter().filter_map(stats).collect(),
        counters: read_counters(hook, &maps.join(hook.counters_map)).unwrap_or_default(),
    }
}

pub(super) fn read_counters(hook: &Hook, path: &Path) -> Result<Vec<u64>, Error> {
    hook.read_counters(&pins::open_map(path)?)
}

/// The cgroup that the first cgroup link is attached to.
pub(super) fn delivery(pins: &Pins) -> Option<Delivery> {
    let program = hooks::CGROUP[0].programs.first()?;
    let link = sys::open_pin(&pins.links().join(program.name)).ok()?;
    let info = sys::link_info(link.as_fd()).ok()?;
    let cgroup_id = sys::link_cgroup(&info);
    let root = host::cgroup_root().ok()?;
    let cgroup = find_cgroup(&root, cgroup_id)?.display().to_string();
    Some(Delivery { cgroup_id, cgroup })
}

/// A cgroup's id is the inode of its directory.
pub(super) fn cgroup_id(cgroup: &fs::File) -> Result<u64, Error> {
    Ok(cgroup
        .metadata()
        .context(|| "read the cgroup's id".into())?
        .ino())
}

fn find_cgroup(directory: &Path, id: u64) -> Option<PathBuf> {
    if fs::metadata(directory).ok()?.ino() == id {
        return Some(directory.into());
    }
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let mut below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.find_map(|entry| find_cgroup(&entry.path(), id))
}
