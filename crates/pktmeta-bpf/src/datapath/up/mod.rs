//! `up` makes everything aside, and puts it in place once all of it works.

mod cgroup;
mod fields;
mod interface;
mod pin_dirs;

use super::{
    delivery::Delivery,
    down::settle,
    options::{Senders, UpOptions},
    registration::Registration,
};
use crate::{
    bpffs::{Bpffs, Locked},
    error::{Error, ErrorKind, Shown},
    host,
    pins::{InterfaceId, Pins},
    registry::HostRegistry,
};
use cgroup::Plan;
use fields::Fields;
use pin_dirs::PinDirs;
use pktmeta_core::{FieldInfo, builtin};

/// The result of an `up`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Up {
    /// Bytes reserved in front of each packet.
    pub area: usize,
    /// The cgroups whose sockets get records.
    pub deliveries: Vec<Delivery>,
    /// Every field of the host.
    pub fields: Vec<FieldInfo>,
    /// For each interface, true if a packet has been labelled already; false if none has arrived.
    pub seen_labelled: Vec<bool>,
}

pub(super) fn up(bpffs: &Bpffs, registry: &HostRegistry, options: &UpOptions) -> Result<Up, Error> {
    host::check_capabilities()?;
    host::check_btf()?;
    // Mount first: where that is impossible, as under `ip netns exec`, cgroups are missing too.
    let root = bpffs.mounted()?;
    check(options)?;
    let locked = bpffs.lock(root)?;
    // Settle before looking: programs that a killed command left may be attached.
    settle(&locked, registry)?;
    let up = attach(&locked, registry, options);
    match (up, settle(&locked, registry)) {
        (Ok(_), Err(error)) => Err(error),
        (up, _) => up,
    }
}

fn attach(locked: &Locked, registry: &HostRegistry, options: &UpOptions) -> Result<Up, Error> {
    let root = locked.root();
    let pins = Pins::for_datapath(root)?;
    let aside = Pins::aside(root)?;
    let mut interfaces: Vec<(String, InterfaceId)> = Vec::new();
    for name in &options.interfaces {
        let id = interface::free(&pins, &aside, name)?;
        if let Some((other, _)) = interfaces
            .iter()
            .find(|(_, other)| other.ifindex == id.ifindex)
        {
            let tried = format!("label the packets of {}", name.shown());
            let why = format!("it is {other}, which is named too");
            return Err(
                Error::new(ErrorKind::Invalid, tried, why).with_remedy("name each interface once")
            );
        }
        interfaces.push((name.shown(), id));
    }
    let plan = Plan::new(&pins, &aside, options)?;
    let registration = Registration::new(registry, root, options)?;
    let fields = Fields::register(root, &registration)?;
    let shared = pins.maps()?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "share the maps of sockets",
            "their directory went away",
        )
    })?;
    if let Plan::Add(cgroup, _) = &plan {
        let own = aside.create_cgroup(cgroup.id())?;
        let dirs = PinDirs {
            own: &own,
            shared: &shared,
            root,
        };
        cgroup.deliver(&dirs, options, &registration.after)?;
    }
    if matches!(plan, Plan::Join(_)) && interfaces.is_empty() {
        return Err(Error::new(
            ErrorKind::InUse,
            "deliver to the cgroup",
            "pktmeta does that already",
        )
        .with_remedy("see `pktmeta status`; name an interface with --iface to label its packets"));
    }
    let mut seen_labelled = Vec::new();
    for &(ref name, id) in &interfaces {
        let own = aside.create_interface(id)?;
        let dirs = PinDirs {
            own: &own,
            shared: &shared,
            root,
        };
        seen_labelled.push(interface::label(&dirs, name, id, options, &registration)?);
    }
    // Attach readers first: they find nothing as long as nobody writes.
    if let Plan::Add(cgroup, _) = &plan {
        aside.move_cgroup(cgroup.id(), &pins)?;
    }
    for (_, id) in interfaces {
        aside.move_interface(id, &pins)?;
    }
    fields.keep();
    Ok(Up {
        area: registration.after.layout().area,
        deliveries: plan.deliveries(),
        fields: registration.after.fields().to_vec(),
        seen_labelled,
    })
}

/// Finds the mistakes that show before anything is done.
fn check(options: &UpOptions) -> Result<(), Error> {
    if options.interfaces.is_empty() && options.cgroup.is_none() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "start the datapath",
            "there is nothing to do",
        )
        .with_remedy("name an interface with --iface, or a cgroup with --cgroup"));
    }
    if let Some(cgroup) = &options.cgroup {
        host::open_cgroup(cgroup)?;
    }
    if let Senders::Users(users) = &options.send
        && users.len() > Senders::MAX
    {
        let why = format!("{} users are named", users.len());
        return Err(
            Error::new(ErrorKind::Invalid, "let users send records", why)
                .with_remedy(format!("name at most {}", Senders::MAX)),
        );
    }
    let mut produce = options.produce.iter();
    if let Some(unknown) = produce.find(|name| !builtin::NAMES.contains(&name.as_str())) {
        let names = builtin::NAMES.join(",");
        let why = "that is not a built-in field";
        return Err(
            Error::new(ErrorKind::Invalid, format!("produce {unknown:?}"), why)
                .with_remedy(format!("give --produce all, none, or some of {names}")),
        );
    }
    Ok(())
}
