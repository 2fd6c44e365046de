//! The datapath as it is.

use super::{Datapath, delivery::Delivery, ring};
use crate::{
    error::Error,
    hooks::{
        self, Hook,
        xdp::labels::{self, LabelStatus},
    },
    host,
    pins::{self, InterfaceId, Pins},
    sys::{self, ProgramStats},
};
use pktmeta_core::FieldInfo;
use std::{os::fd::AsFd, path::Path};

/// The datapath as it is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Interfaces that label packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// The cgroups that records are delivered to.
    pub deliveries: Vec<DeliveryStatus>,
    /// The registered fields.
    pub fields: Vec<FieldInfo>,
}

impl Status {
    /// Every hook, in the order in which a packet meets them.
    pub fn into_hooks(self) -> impl Iterator<Item = HookStatus> {
        let interfaces = self.interfaces.into_iter().flat_map(|it| it.hooks);
        interfaces.chain(self.deliveries.into_iter().flat_map(|it| it.hooks))
    }
}

/// A cgroup that records are delivered to.
#[derive(Clone, Debug)]
pub struct DeliveryStatus {
    /// The cgroup.
    pub delivery: Delivery,
    /// Its hooks.
    pub hooks: Vec<HookStatus>,
    /// Slots of its ring.
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
    /// Its labels.
    pub labels: Vec<LabelStatus>,
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
            .map(|id| InterfaceStatus {
                labels: labels::read(&pins.interface(id).directory, &registry).unwrap_or_default(),
                ..interface(&pins, id, here)
            })
            .collect(),
        deliveries: Delivery::all(&pins)
            .into_iter()
            .map(|delivery| delivery_status(&pins, delivery))
            .collect(),
        fields: registry.fields().to_vec(),
    }))
}

/// An interface that has pins, without its labels; `here` is the network namespace of the calling thread.
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
            // A hook without a field to produce was left out.
            .filter(|hook| own.directory.join(hook.counters_map).exists())
            .map(|hook| hook_status(hook, &own.directory))
            .collect(),
        labels: Vec::new(),
    }
}

fn delivery_status(pins: &Pins, delivery: Delivery) -> DeliveryStatus {
    let own = pins.cgroup(delivery.cgroup_id);
    DeliveryStatus {
        hooks: hooks::CGROUP
            .iter()
            .map(|hook| hook_status(hook, &own.directory))
            .collect(),
        slots: ring::slots(&own.directory).unwrap_or(0),
        delivery,
    }
}

fn hook_status(hook: &'static Hook, pins: &Path) -> HookStatus {
    let stats = |program: &hooks::Program| {
        let link = sys::open_pin(&pins.join(program.name)).ok()?;
        let program = sys::program_by_id(sys::link_info(link.as_fd()).ok()?.prog_id).ok()?;
        ProgramStats::of(program.as_fd()).ok()
    };
    HookStatus {
        hook,
        programs: hook.programs.iter().filter_map(stats).collect(),
        counters: read_counters(hook, &pins.join(hook.counters_map)).unwrap_or_default(),
    }
}

pub(super) fn read_counters(hook: &Hook, path: &Path) -> Result<Vec<u64>, Error> {
    hook.read_counters(&pins::open_map(path)?)
}
