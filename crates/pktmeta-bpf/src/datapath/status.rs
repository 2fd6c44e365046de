//! The datapath as it is.

use super::{
    Datapath,
    delivery::{self, Delivery, PinnedDelivery},
    interface::{InterfaceStatus, PinnedInterface},
    ring,
};
use crate::{
    bpffs::Bpffs,
    dir::Dir,
    error::Error,
    hooks::{self, Hook, xdp::labels},
    host,
    links::{Attached, Link},
    pins::{self, Pins},
    registry,
    sys::{self, ProgramStats},
};
use pktmeta_core::{FieldInfo, schema::Dictionary};
use std::os::fd::AsFd;

/// The datapath as it is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Interfaces that label packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// The cgroups that records are delivered to.
    pub deliveries: Vec<DeliveryStatus>,
    /// The registered fields.
    pub fields: Vec<FieldInfo>,
    /// True if a command was killed before it had finished: the next `up` or `down` does that.
    pub unfinished: bool,
}

impl Status {
    /// True if nothing is up.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.interfaces.is_empty() && self.deliveries.is_empty()
    }

    /// True if everything that is up is known to run where it should.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let interfaces = self.interfaces.iter().flat_map(|it| &it.hooks);
        let mut hooks = interfaces.chain(self.deliveries.iter().flat_map(|it| &it.hooks));
        let attached = |it: &InterfaceStatus| it.attached == Attached::Yes;
        !self.unfinished
            && self.interfaces.iter().all(attached)
            && hooks.all(|hook| hook.attached == Attached::Yes)
    }

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
    /// Those of each CPU: what arrives on one uses no other's.
    pub cpu_slots: u32,
}

/// A hook as it is.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// The hook.
    pub hook: &'static Hook,
    /// Whether its programs run where they should.
    pub attached: Attached,
    /// The programs that run there, as far as one may look: that takes `CAP_SYS_ADMIN`.
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

pub(super) fn status(datapath: &Datapath) -> Result<Status, Error> {
    host::check_capabilities()?;
    let mut status = Status {
        interfaces: Vec::new(),
        deliveries: Vec::new(),
        fields: Vec::new(),
        unfinished: false,
    };
    let Some(root) = datapath.bpffs.open()? else {
        return Ok(status);
    };
    status.unfinished = pins::is_unsettled(&root)? && !Bpffs::is_locked(&root)?;
    let dictionary = datapath.registry().dictionary_in(&root)?;
    status.fields = dictionary.registry().fields().to_vec();
    let Some(pins) = Pins::of_datapath(&root)? else {
        return Ok(status);
    };
    for pinned in PinnedInterface::all(&pins)? {
        status
            .interfaces
            .push(interface_status(&pinned, &dictionary)?);
    }
    for pinned in PinnedDelivery::all(&pins)? {
        status.deliveries.push(delivery_status(pinned)?);
    }
    Ok(status)
}

fn interface_status(
    pinned: &PinnedInterface,
    dictionary: &Dictionary,
) -> Result<InterfaceStatus, Error> {
    let mut status = pinned.status()?;
    for hook in hooks::INTERFACE {
        // A hook without a field to produce was left out.
        if pinned.pins.has(hook.counters_map)? {
            status.hooks.push(hook_status(hook, &pinned.pins)?);
        }
    }
    if pinned.pins.has(labels::MAPS[0])? {
        status.labels = labels::read(&pinned.pins, dictionary)?;
    }
    let programs = status.hooks.iter().flat_map(|hook| &hook.programs);
    let programs: Vec<_> = programs.map(|program| program.id).collect();
    // Who may not look sees no program either.
    if !programs.is_empty()
        && let Ok(fields) = registry::fields_of(&programs, dictionary.registry())
    {
        status.produces = Some(fields);
    }
    Ok(status)
}

fn delivery_status(pinned: PinnedDelivery) -> Result<DeliveryStatus, Error> {
    let hooks = hooks::CGROUP
        .iter()
        .map(|hook| hook_status(hook, &pinned.pins));
    let slots = ring::slots(&pinned.pins).unwrap_or(0);
    Ok(DeliveryStatus {
        hooks: hooks.collect::<Result<_, _>>()?,
        slots,
        cpu_slots: delivery::cpu_slots(slots).unwrap_or(0),
        delivery: pinned.delivery,
    })
}

fn hook_status(hook: &'static Hook, pins: &Dir) -> Result<HookStatus, Error> {
    let links = hook.programs.iter().map(|program| Link::of(pins, program));
    let links: Vec<_> = links.collect();
    let stats = |link: &Link| match link {
        Link::Attached { program, .. } => {
            let program = sys::program_by_id(*program).ok()?;
            ProgramStats::of(program.as_fd()).ok()
        }
        _ => None,
    };
    Ok(HookStatus {
        hook,
        attached: Attached::all(&links),
        programs: links.iter().filter_map(stats).collect(),
        counters: match pins.has(hook.counters_map)? {
            true => read_counters(hook, pins)?,
            false => Vec::new(),
        },
    })
}

pub(super) fn read_counters(hook: &Hook, pins: &Dir) -> Result<Vec<u64>, Error> {
    hook.read_counters(&pins.open_map(hook.counters_map)?)
}
