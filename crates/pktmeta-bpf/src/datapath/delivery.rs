//! Delivery: the hooks of one cgroup, whose sockets get records, and its ring.

use crate::{
    dir::Dir,
    error::{Error, ErrorKind, Shown},
    hook::Target,
    hooks,
    host::{Cgroups, Found},
    links::{Attached, Link},
    pins::Pins,
    ring,
};
use std::path::PathBuf;

/// A cgroup whose sockets get records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The kernel's number of the cgroup.
    pub cgroup_id: u64,
    /// Its path.
    pub cgroup: Found<PathBuf>,
}

impl Delivery {
    /// Its name in messages: the path in one line, or the reason why there is none.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.cgroup {
            Found::There(path) => path.shown(),
            Found::Gone => format!("cgroup {}, gone", self.cgroup_id),
            Found::Unknown(_) => format!("cgroup {}, which is not seen from here", self.cgroup_id),
        }
    }
}

/// A delivery that has pins, with the state of its links in the kernel.
pub(super) struct PinnedDelivery {
    pub(super) delivery: Delivery,
    pub(super) pins: Dir,
    links: Vec<Link>,
}

impl PinnedDelivery {
    /// All deliveries of a datapath.
    pub(super) fn all(pins: &Pins) -> Result<Vec<Self>, Error> {
        let cgroups = Cgroups::all();
        let mut all = Vec::new();
        for cgroup_id in pins.cgroup_ids()? {
            // It may have gone down meanwhile.
            let Some(pins) = pins.cgroup(cgroup_id)? else {
                continue;
            };
            let programs = hooks::of(Target::Cgroup).flat_map(|hook| hook.programs);
            all.push(Self {
                delivery: Delivery {
                    cgroup_id,
                    cgroup: cgroups.find(cgroup_id),
                },
                links: programs.map(|program| Link::of(&pins, program)).collect(),
                pins,
            });
        }
        Ok(all)
    }

    /// True if the kernel has freed the cgroup, so that nothing is delivered any more. A cgroup
    /// whose directory was removed lives on while it has sockets.
    pub(super) fn has_ended(&self) -> bool {
        let detached = |link: &Link| matches!(link, Link::Detached);
        self.links.iter().all(detached)
    }

    /// Checks that records are delivered there: that the pinned links are attached and the ring is
    /// open.
    pub(super) fn check_whole(&self) -> Result<(), Error> {
        let tried = || format!("use the delivery to {}", self.delivery.label());
        let damaged = |why: String| {
            let remedy = match self.delivery.cgroup.there() {
                Some(path) => format!("run `pktmeta down --cgroup {}` first", path.shown()),
                None => "run `pktmeta down` first".into(),
            };
            Err(Error::new(ErrorKind::Unusable, tried(), why).with_remedy(remedy))
        };
        match Attached::all(&self.links) {
            Attached::Yes => {}
            Attached::No => return damaged("some of its programs are not attached".into()),
            Attached::Unknown(why) => return Err(Error::new(ErrorKind::Refused, tried(), why)),
        }
        let here = self.delivery.cgroup_id;
        let elsewhere =
            |link: &Link| matches!(link, Link::Attached { target, .. } if *target != here);
        if self.links.iter().any(elsewhere) {
            return damaged("its programs are attached to another cgroup".into());
        }
        match ring::is_open(&self.pins) {
            Ok(true) => Ok(()),
            Ok(false) => damaged("its ring is closed".into()),
            Err(error) => damaged(error.line()),
        }
    }

    /// The program that gives datagrams their tickets.
    pub(super) fn program(&self) -> Option<u32> {
        match self.links.first()? {
            Link::Attached { program, .. } => Some(*program),
            _ => None,
        }
    }
}
