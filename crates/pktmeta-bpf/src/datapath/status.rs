//! The state of the datapath.

use super::{
    delivery::{Delivery, PinnedDelivery},
    hook_status::HookStatus,
    interface::{InterfaceStatus, PinnedInterface},
    options::{Senders, cpu_slots},
};
use crate::{
    bpffs::Bpffs,
    error::Error,
    hook::Target,
    hooks, host, labels,
    links::Attached,
    pins::{self, Pins},
    registry::{HostRegistry, fields_of},
    ring, settings, stores,
};
use pktmeta_core::{FieldInfo, schema::Dictionary};

/// The state of the datapath.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Interfaces that label packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// The cgroups that records are delivered to.
    pub deliveries: Vec<DeliveryStatus>,
    /// The registered fields.
    pub fields: Vec<FieldInfo>,
    /// True if a command was killed before it had finished. The next `up` or `down` finishes it.
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
#[non_exhaustive]
pub struct DeliveryStatus {
    /// The cgroup.
    pub delivery: Delivery,
    /// Its hooks.
    pub hooks: Vec<HookStatus>,
    /// Slots of its ring.
    pub slots: u32,
    /// Slots of each CPU: datagrams that arrive on a CPU use no other's.
    pub cpu_slots: u32,
    /// Which users may label what they send; `None` without `CAP_SYS_ADMIN`, which looking takes.
    pub send: Option<Senders>,
}

pub(super) fn status(bpffs: &Bpffs, registry: &HostRegistry) -> Result<Status, Error> {
    host::check_capabilities()?;
    let mut status = Status {
        interfaces: Vec::new(),
        deliveries: Vec::new(),
        fields: Vec::new(),
        unfinished: false,
    };
    let Some(root) = bpffs.open()? else {
        return Ok(status);
    };
    status.unfinished = pins::is_unsettled(&root)? && !Bpffs::is_locked(&root)?;
    let dictionary = registry.dictionary_in(&root)?;
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
    for hook in hooks::of(Target::Interface) {
        let found = HookStatus::of(hook, &pinned.pins)?;
        // A hook without a field to produce was left out.
        if !hook.only_to_produce || !found.counters.is_empty() {
            status.hooks.push(found);
        }
    }
    if pinned.pins.has(stores::LABELS.pin)? {
        status.labels = labels::read(&pinned.pins, dictionary)?;
    }
    let programs = status.hooks.iter().flat_map(|hook| &hook.programs);
    let programs: Vec<_> = programs.map(|program| program.id).collect();
    // A process that may not look sees no program either.
    if !programs.is_empty()
        && let Ok(fields) = fields_of(&programs, dictionary.registry())
    {
        status.produces = Some(fields);
    }
    Ok(status)
}

fn delivery_status(pinned: PinnedDelivery) -> Result<DeliveryStatus, Error> {
    let hooks = hooks::of(Target::Cgroup).map(|hook| HookStatus::of(hook, &pinned.pins));
    let hooks: Vec<_> = hooks.collect::<Result<_, _>>()?;
    let slots = ring::slots(&pinned.pins).unwrap_or(0);
    let mut programs = hooks.iter().flat_map(|hook| &hook.programs);
    Ok(DeliveryStatus {
        send: programs.find_map(|program| settings::senders_of(program.id)),
        hooks,
        slots,
        cpu_slots: cpu_slots(slots).unwrap_or(0),
        delivery: pinned.delivery,
    })
}
