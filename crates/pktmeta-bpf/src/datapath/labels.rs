//! Listing the labels of interfaces that are up, and changing them under traffic.

use super::{
    down::settle,
    interface::{self, PinnedInterface},
};
use crate::{
    bpffs::Bpffs,
    dir::Dir,
    error::{Error, ErrorKind, Shown},
    host,
    labels::{self, Change, Changed, Label, Planned},
    pins::Pins,
    registry::{HostRegistry, area_of},
    stores,
};
use pktmeta_core::schema::Dictionary;
use std::ffi::OsStr;

/// The labels of an interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceLabels {
    /// The interface's name in messages.
    pub interface: String,
    /// Its labels, in the order of prefixes, without those that prefixes inherit.
    pub labels: Vec<Label>,
}

/// The changes of labels on an interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceChanged {
    /// The interface's name in messages.
    pub interface: String,
    /// How many prefixes changed.
    pub changed: Changed,
}

pub(super) fn list(
    bpffs: &Bpffs,
    registry: &HostRegistry,
    only: Option<&OsStr>,
) -> Result<Vec<InterfaceLabels>, Error> {
    host::check_capabilities()?;
    let Some(root) = bpffs.open()? else {
        return Err(not_up(only));
    };
    let dictionary = registry.dictionary_in(&root)?;
    let interfaces = interfaces(&root, only)?.into_iter().map(|pinned| {
        Ok(InterfaceLabels {
            interface: pinned.status()?.label(),
            labels: labels::list(&pinned.pins, &dictionary)?,
        })
    });
    interfaces.collect()
}

pub(super) fn change(
    bpffs: &Bpffs,
    registry: &HostRegistry,
    only: Option<&OsStr>,
    change: &Change,
) -> Result<Vec<InterfaceChanged>, Error> {
    host::check_capabilities()?;
    let Some(root) = bpffs.open()? else {
        return Err(not_up(only));
    };
    let locked = bpffs.lock(root)?;
    settle(&locked, registry)?;
    let root = locked.root();
    let dictionary = registry.dictionary_in(root)?;
    let mut planned = Vec::new();
    // Plan all before anything changes: a fault on one interface then changes none.
    for pinned in interfaces(root, only)? {
        let name = pinned.status()?.label();
        check_room(&name, &pinned, &dictionary)?;
        let plan = Planned::new(&name, &pinned.pins, change, &dictionary)?;
        planned.push((name, plan));
    }
    let changed = planned.into_iter().map(|(interface, plan)| {
        let changed = plan.apply()?;
        Ok(InterfaceChanged { interface, changed })
    });
    changed.collect()
}

/// The interface of this name, or all that label packets.
fn interfaces(root: &Dir, only: Option<&OsStr>) -> Result<Vec<PinnedInterface>, Error> {
    let mut all = match Pins::of_datapath(root)? {
        Some(pins) => PinnedInterface::all(&pins)?,
        None => Vec::new(),
    };
    if let Some(name) = only {
        let (_, program) = interface::find(name)?;
        all.retain(|pinned| program.is_some_and(|program| pinned.runs(program)));
    }
    all.retain(|pinned| pinned.pins.has(stores::LABELS.pin).unwrap_or(true));
    match all.is_empty() {
        true => Err(not_up(only)),
        false => Ok(all),
    }
}

fn not_up(only: Option<&OsStr>) -> Error {
    let tried = match only {
        Some(name) => format!("find the labels of {}", name.shown()),
        None => "find labels".into(),
    };
    Error::new(
        ErrorKind::NotFound,
        tried,
        "pktmeta labels no packets there",
    )
    .with_remedy("`pktmeta status` lists where it is; `pktmeta up --iface` starts it")
}

/// A program reserves as much area as the fields took when it was loaded. If more were registered
/// since, a label may have no room, and packets would lack it.
fn check_room(name: &str, pinned: &PinnedInterface, dictionary: &Dictionary) -> Result<(), Error> {
    let registry = dictionary.registry();
    let Some(program) = pinned.program() else {
        return Ok(()); // it labels nothing, whatever is in the map
    };
    let (has, needs) = (area_of(program, registry.id())?, registry.layout().area);
    match has.is_none_or(|has| has >= needs) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Invalid,
            format!("label packets of {name}"),
            "its program reserves no room for fields that were registered since it was loaded",
        )
        .with_remedy(format!(
            "`pktmeta down --iface {name}` and `pktmeta up` make a larger area"
        ))),
    }
}
