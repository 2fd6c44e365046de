//! Delivery: the hooks of one cgroup, whose sockets get records, and its ring.

use super::{
    ring,
    up::{Senders, UpOptions, load},
};
use crate::{
    dir::Dir,
    error::{Context, Error, Shown},
    hooks,
    host::{self, Cgroups, Found},
    links::{Attached, Link},
    object::ObjectOptions,
    pins::Pins,
    sys,
};
use pktmeta_core::Registry;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

/// A cgroup whose sockets get records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The kernel's number of the cgroup.
    pub cgroup_id: u64,
    /// Its path.
    pub cgroup: Found<PathBuf>,
}

impl Delivery {
    /// What messages call it: the path in one line, or what there is instead.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.cgroup {
            Found::There(path) => path.shown(),
            Found::Gone => format!("cgroup {}, gone", self.cgroup_id),
            Found::Unknown(_) => format!("cgroup {}, which is not seen from here", self.cgroup_id),
        }
    }
}

/// A delivery that has pins, and what the kernel says of its links.
pub(super) struct PinnedDelivery {
    pub(super) delivery: Delivery,
    pub(super) pins: Dir,
    links: Vec<Link>,
}

impl PinnedDelivery {
    /// All of a datapath.
    pub(super) fn all(pins: &Pins) -> Result<Vec<Self>, Error> {
        let cgroups = Cgroups::all();
        let mut all = Vec::new();
        for cgroup_id in pins.cgroup_ids()? {
            // It may have gone down meanwhile.
            let Some(pins) = pins.cgroup(cgroup_id)? else {
                continue;
            };
            let programs = hooks::CGROUP.iter().flat_map(|hook| hook.programs);
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

    /// True if the kernel has let go of the cgroup: nothing is delivered any more. A cgroup whose
    /// directory was removed lives on while it has sockets.
    fn has_ended(&self) -> bool {
        let detached = |link: &Link| matches!(link, Link::Detached);
        self.links.iter().all(detached)
    }

    /// Checks that records are delivered there: that what is pinned is also attached, and open.
    fn check_whole(&self) -> Result<(), Error> {
        let tried = || format!("use the delivery to {}", self.delivery.label());
        let damaged = |why: String| {
            let remedy = match self.delivery.cgroup.there() {
                Some(path) => format!("run `pktmeta down --cgroup {}` first", path.shown()),
                None => "run `pktmeta down` first".into(),
            };
            Err(Error::new(tried(), why).remedy(remedy))
        };
        match Attached::all(&self.links) {
            Attached::Yes => {}
            Attached::No => return damaged("some of its programs are not attached".into()),
            Attached::Unknown(why) => return Err(Error::new(tried(), why)),
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
    fn program(&self) -> Option<u32> {
        match self.links.first()? {
            Link::Attached { program, .. } => Some(*program),
            _ => None,
        }
    }
}

/// Where an `up` is to deliver.
pub(super) enum Plan {
    /// Where it is delivered already.
    Join(Vec<Delivery>),
    /// To this cgroup too.
    Add(Cgroup, Vec<Delivery>),
}

impl Plan {
    /// What `options` ask for, given what the datapath does already. Deliveries that have ended are
    /// put aside.
    pub(super) fn new(pins: &Pins, aside: &Pins, options: &UpOptions) -> Result<Self, Error> {
        let all = PinnedDelivery::all(pins)?;
        let deliveries = |all: &[PinnedDelivery]| -> Vec<_> {
            all.iter().map(|pinned| pinned.delivery.clone()).collect()
        };
        let path = match &options.cgroup {
            Some(path) => path.clone(),
            None if all.is_empty() => host::cgroup_root()?,
            None => {
                let mut live = all;
                live.retain(|pinned| pinned.delivery.cgroup != Found::Gone && !pinned.has_ended());
                if live.is_empty() {
                    let why = "its cgroup is gone";
                    return Err(Error::new("use the datapath that is up", why)
                        .remedy("name another with --cgroup, or run `pktmeta down` first"));
                }
                live.iter().try_for_each(PinnedDelivery::check_whole)?;
                return Ok(Self::Join(deliveries(&live)));
            }
        };
        let cgroup = Cgroup::open(&path)?;
        if let Some(own) = all
            .iter()
            .find(|other| other.delivery.cgroup_id == cgroup.id)
        {
            own.check_whole()?;
            return Ok(Self::Join(deliveries(&all)));
        }
        let (ended, there): (Vec<_>, Vec<_>) = all.into_iter().partition(PinnedDelivery::has_ended);
        for ended in ended {
            pins.move_cgroup(ended.delivery.cgroup_id, aside)?;
        }
        cgroup.check_apart(&there)?;
        Ok(Self::Add(cgroup, deliveries(&there)))
    }

    /// All cgroups whose sockets get records then.
    pub(super) fn deliveries(self) -> Vec<Delivery> {
        match self {
            Self::Join(there) => there,
            Self::Add(cgroup, mut there) => {
                there.push(Delivery {
                    cgroup_id: cgroup.id,
                    cgroup: Found::There(cgroup.path),
                });
                there
            }
        }
    }
}

/// A cgroup to deliver to.
pub(super) struct Cgroup {
    path: PathBuf,
    file: File,
    id: u64,
}

impl Cgroup {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = host::open_cgroup(path)?;
        // A cgroup's id is the inode of its directory.
        let id = file
            .metadata()
            .context(|| "read the cgroup's id".into())?
            .ino();
        // As its path below the root, whatever it was called by.
        let path = match Cgroups::all().find(id) {
            Found::There(path) => path,
            _ => path.into(),
        };
        Ok(Self { path, file, id })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Programs of a cgroup run for the sockets of those below it too: one ticket would take the
    /// place of another. The kernel says which programs run here; cgroups above may be out of sight.
    fn check_apart(&self, deliveries: &[PinnedDelivery]) -> Result<(), Error> {
        let tried = || format!("deliver to {}", self.path.shown());
        let attach_type = libbpf_sys::BPF_CGROUP_INET_INGRESS;
        let running = sys::effective_programs(self.file.as_fd(), attach_type).context(tried)?;
        let below = Cgroups::below(&self.path);
        let overlaps = |other: &&PinnedDelivery| {
            other
                .program()
                .is_some_and(|program| running.contains(&program))
                || below.by_id.contains_key(&other.delivery.cgroup_id)
        };
        let Some(other) = deliveries.iter().find(overlaps) else {
            return Ok(());
        };
        let why = format!(
            "the datapath delivers to {} already, and one of the two contains the other",
            other.delivery.label()
        );
        Err(Error::new(tried(), why).remedy(
            "leave --cgroup out, or name cgroups that do not contain each other; \
             `pktmeta down --cgroup` ends a delivery",
        ))
    }

    /// Attaches the cgroup's hooks. Maps that sockets share are in `shared`, or go there. The registry
    /// is given with its pin.
    pub(super) fn deliver(
        &self,
        own: &Dir,
        shared: &Dir,
        options: &UpOptions,
        (registry, registry_pin): (&Registry, PathBuf),
    ) -> Result<(), Error> {
        let slots = options.slots;
        let cpu_slots = cpu_slots(slots)?;
        let counters = hooks::CGROUP.iter().map(|hook| hook.counters_map);
        let here = MAPS.into_iter().chain(counters);
        let mut globals = vec![
            ("ring_slots", slots.to_ne_bytes().into()),
            ("ring_bits", slots.ilog2().to_ne_bytes().into()),
            ("ring_cpu_bits", cpu_slots.ilog2().to_ne_bytes().into()),
        ];
        globals.extend(options.send.globals());
        let options = ObjectOptions {
            registry: Some(registry),
            globals,
            max_entries: vec![("ring", slots + 1)],
            pins: here
                .map(|name| (name, own.path_by_fd(name)))
                .chain(SHARED.map(|name| (name, shared.path_by_fd(name))))
                .chain([("registry", registry_pin)])
                .collect(),
            ..ObjectOptions::default()
        };
        // All maps have to be ready before the first program runs.
        let mut objects = Vec::new();
        for hook in hooks::CGROUP {
            objects.push((hook, load(hook, &options)?));
        }
        ring::start(own, slots, self.id)?;
        self.give_ring(own)?;
        for (hook, object) in &objects {
            for program in hook.programs {
                let cgroup = self.file.as_raw_fd();
                object
                    .attach(program, cgroup, 0, own)
                    .map_err(|error| error.during(format!("deliver to {}", self.path.shown())))?;
            }
        }
        Ok(())
    }

    /// The owner of a cgroup's directory may look after what is in it: he may map its ring.
    fn give_ring(&self, pins: &Dir) -> Result<(), Error> {
        let ring = pins.path_of(ring::MAP);
        let tried = || format!("give {} to the owner of its cgroup", ring.shown());
        let owner = self.file.metadata().context(tried)?;
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        let (mode, no_flags) = (Mode::RUSR | Mode::WUSR, AtFlags::empty());
        rustix::fs::chmodat(pins, ring::MAP, mode, no_flags).context(tried)?;
        let own = rustix::fs::statat(pins, ring::MAP, AtFlags::SYMLINK_NOFOLLOW).context(tried)?;
        if (own.st_uid, own.st_gid) == (owner.uid(), owner.gid()) {
            return Ok(());
        }
        let given = rustix::fs::chownat(pins, ring::MAP, Some(uid), Some(gid), no_flags);
        given.map_err(|error| {
            Error::of(tried(), &error).remedy("that takes CAP_CHOWN: run it as root")
        })
    }
}

/// Maps of one cgroup, beside its hooks' counters.
pub(crate) const MAPS: [&str; 2] = [ring::MAP, "issued"];

/// Maps of sockets: a socket is the same for every cgroup.
pub(crate) const SHARED: [&str; 8] = [
    "connections",
    "histories",
    "pktmeta_tx",
    "pktmeta_tx_tickets",
    "selections",
    "syns",
    "tickets",
    "unkept",
];

impl Senders {
    /// What the programs know of them.
    fn globals(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (all, users) = match self {
            Self::All => (1, &[][..]),
            Self::Users(users) => (0, users.as_slice()),
        };
        let mut list: Vec<u8> = users.iter().flat_map(|user| user.to_ne_bytes()).collect();
        list.resize(4 * Self::MAX, 0);
        let count = users.len().min(Self::MAX) as u32;
        vec![
            ("senders_all", vec![all]),
            ("senders_count", count.to_ne_bytes().into()),
            ("senders", list),
        ]
    }
}

/// Slots of each CPU, in a ring of so many.
pub(super) fn cpu_slots(slots: u32) -> Result<u32, Error> {
    if !slots.is_power_of_two() || !UpOptions::SLOTS_RANGE.contains(&slots) {
        let (min, max) = UpOptions::SLOTS_RANGE.into_inner();
        return Err(Error::new(
            format!("make a ring of {slots} slots"),
            "not a size that it can have",
        )
        .remedy(format!("give a power of two from {min} to {max}")));
    }
    let cpus = libbpf_rs::num_possible_cpus().context(|| "count the CPUs".into())?;
    let cpus = u32::try_from(cpus.next_power_of_two()).unwrap_or(u32::MAX);
    match slots / cpus {
        0 => Err(Error::new(
            format!("make a ring of {slots} slots"),
            "each CPU needs one",
        )
        .remedy(format!("give at least {cpus}"))),
        each => Ok(each),
    }
}
