//! Finding an interface whose packets are labelled, wherever it has moved.
//!
//! The id of the program that the kernel runs on an interface identifies it. Its name, index and
//! network namespace may all have changed since, and another interface may have them now.

use super::hook_status::HookStatus;
use crate::{
    dir::Dir,
    error::{Context, Error, Shown},
    hooks,
    host::{self, Found},
    labels::LabelStatus,
    links::{Attached, Link},
    pins::{InterfaceId, Pins},
    sys::{self, XdpMode},
};
use pktmeta_core::FieldInfo;
use std::{
    ffi::{OsStr, OsString},
    io,
};

/// An interface that labels packets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceStatus {
    /// Its name, if the network namespace that it is in can be seen.
    pub name: Found<OsString>,
    /// Its index; its last index, if it is detached.
    pub ifindex: u32,
    /// Inode of its network namespace. If it is detached or cannot be seen, that of the namespace
    /// in which `up` ran; `None` if it has left that one for one that cannot be seen.
    pub netns: Option<u64>,
    /// Whether the kernel runs the XDP program on it.
    pub attached: Attached,
    /// Where the XDP program runs, if the interface can be seen.
    pub mode: Option<XdpMode>,
    /// The built-in fields that its programs write; `None` without `CAP_SYS_ADMIN`, which looking
    /// takes.
    pub produces: Option<Vec<FieldInfo>>,
    /// Its hooks.
    pub hooks: Vec<HookStatus>,
    /// Its labels.
    pub labels: Vec<LabelStatus>,
    /// True if it is in the caller's network namespace.
    is_here: bool,
}

impl InterfaceStatus {
    /// Its name in messages: the name in one line, or its index and namespace.
    #[must_use]
    pub fn label(&self) -> String {
        let place = match self.netns {
            Some(netns) => format!("of network namespace {netns}"),
            None => "of another network namespace".into(),
        };
        let index = format!("interface {} {place}", self.ifindex);
        match (&self.name, &self.attached) {
            (Found::There(name), _) if self.is_here => name.shown(),
            (Found::There(name), _) => format!("{} {place}", name.shown()),
            (Found::Gone, _) => format!("{index}, gone"),
            (Found::Unknown(_), Attached::No) => format!("{index}, detached"),
            (Found::Unknown(_), _) => index,
        }
    }
}

/// An interface that has pins, with the state of its XDP link in the kernel.
pub(super) struct PinnedInterface {
    pub(super) id: InterfaceId,
    pub(super) pins: Dir,
    xdp: Link,
}

impl PinnedInterface {
    /// All interfaces of a datapath.
    pub(super) fn all(pins: &Pins) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for id in pins.interface_ids()? {
            // It may have gone down meanwhile.
            let Some(pins) = pins.interface(id)? else {
                continue;
            };
            let xdp = match hooks::xdp::HOOK.programs.first() {
                Some(program) => Link::of(&pins, program),
                None => Link::Missing,
            };
            all.push(Self { id, pins, xdp });
        }
        Ok(all)
    }

    /// True if it runs this program.
    pub(super) fn runs(&self, id: u32) -> bool {
        self.program() == Some(id)
    }

    /// The program that the kernel runs on it.
    pub(super) fn program(&self) -> Option<u32> {
        match self.xdp {
            Link::Attached { program, .. } => Some(program),
            _ => None,
        }
    }

    /// True if it is certain that the kernel runs its program nowhere.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.xdp, Link::Detached | Link::Missing)
    }

    /// Its state, but for hooks, labels and the fields that it produces.
    pub(super) fn status(&self) -> Result<InterfaceStatus, Error> {
        let here = host::network_namespace()?;
        let InterfaceId { netns, ifindex, .. } = self.id;
        let mut status = InterfaceStatus {
            name: Found::Unknown("its network namespace cannot be seen".into()),
            ifindex,
            netns: Some(netns),
            attached: Attached::all([&self.xdp]),
            mode: None,
            produces: None,
            hooks: Vec::new(),
            labels: Vec::new(),
            is_here: false,
        };
        match &self.xdp {
            &Link::Attached { target, program } => {
                status.ifindex = target as u32; // an XDP link's target is an index
                let look = || look_at(status.ifindex, program).transpose();
                let found = match look() {
                    Some(found) => Some((here, found.context(|| "find the interface".into())?)),
                    None => host::in_network_namespaces(|| look()?.ok()).pop_first(),
                };
                match found {
                    Some((netns, (name, mode))) => {
                        status.name = Found::There(name);
                        status.mode = Some(mode);
                        status.netns = Some(netns);
                        status.is_here = netns == here;
                    }
                    // It was here and is not any more.
                    None if netns == here => status.netns = None,
                    None => {}
                }
            }
            // The index may be another's by now.
            Link::Detached | Link::Missing if netns == here => {
                if let Ok(None) = sys::interface_name(ifindex) {
                    status.name = Found::Gone;
                }
            }
            _ => {}
        }
        Ok(status)
    }
}

/// The name of the interface with this index in this network namespace, and where the program runs
/// on it; `None` if it does not.
fn look_at(ifindex: u32, program: u32) -> io::Result<Option<(OsString, XdpMode)>> {
    let Some(name) = sys::interface_name(ifindex)? else {
        return Ok(None);
    };
    Ok(match sys::xdp_on(ifindex)? {
        Some((there, mode)) if there == program => Some((name, mode)),
        _ => None,
    })
}

/// The index of an interface of this network namespace, and the XDP program on it, if there is one.
pub(super) fn find(name: &OsStr) -> Result<(u32, Option<u32>), Error> {
    let ifindex = sys::interface_index(name).map_err(|error| {
        Error::of(format!("find interface \"{}\"", name.shown()), error)
            .with_remedy("`ip link` lists the interfaces of this network namespace")
    })?;
    let program = sys::xdp_program(ifindex)
        .map_err(|error| Error::of(format!("look at {}", name.shown()), error))?;
    Ok((ifindex, program))
}
