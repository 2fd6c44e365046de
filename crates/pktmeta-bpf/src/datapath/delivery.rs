//! Delivery: the hooks of one cgroup, whose sockets get records, and its ring.

use super::{
    ring,
    up::{Senders, UpOptions, load},
};
use crate::{
    error::{Context, Error},
    hooks, host,
    object::ObjectOptions,
    pins::{self, Pins},
};
use pktmeta_core::Registry;
use std::{
    fs::{self, File},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// A cgroup whose sockets get records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The kernel's number of the cgroup.
    pub cgroup_id: u64,
    /// Its path; `None` if it is gone.
    pub cgroup: Option<PathBuf>,
}

impl Delivery {
    /// The path, or what there is instead.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.cgroup {
            Some(path) => path.display().to_string(),
            None => format!("cgroup {}, gone", self.cgroup_id),
        }
    }

    /// Those of a datapath.
    pub(super) fn all(pins: &Pins) -> Vec<Self> {
        let ids = pins.cgroup_ids().into_iter();
        ids.map(|cgroup_id| Self {
            cgroup_id,
            cgroup: host::cgroup_by_id(cgroup_id),
        })
        .collect()
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
    /// What `options` ask for, given what the datapath does already.
    pub(super) fn new(pins: &Pins, options: &UpOptions) -> Result<Self, Error> {
        let (there, gone): (Vec<_>, Vec<_>) = Delivery::all(pins)
            .into_iter()
            .partition(|delivery| delivery.cgroup.is_some());
        let path = match &options.cgroup {
            Some(path) => path.clone(),
            None if !there.is_empty() => return Ok(Self::Join(there)),
            None if !gone.is_empty() => {
                return Err(
                    Error::new("use the datapath that is up", "its cgroup is gone")
                        .remedy("name another with --cgroup, or run `pktmeta down` first"),
                );
            }
            None => host::cgroup_root()?,
        };
        let cgroup = Cgroup::open(&path)?;
        if there.iter().any(|delivery| delivery.cgroup_id == cgroup.id) {
            return Ok(Self::Join(there));
        }
        for delivery in gone {
            // The kernel detached its programs.
            pins.cgroup(delivery.cgroup_id).remove()?;
        }
        cgroup.check_apart(&there)?;
        Ok(Self::Add(cgroup, there))
    }

    /// All cgroups whose sockets get records then.
    pub(super) fn deliveries(self) -> Vec<Delivery> {
        match self {
            Self::Join(there) => there,
            Self::Add(cgroup, mut there) => {
                there.push(Delivery {
                    cgroup_id: cgroup.id,
                    cgroup: Some(cgroup.path),
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
        let path = host::cgroup_by_id(id).unwrap_or_else(|| path.into());
        Ok(Self { path, file, id })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Programs of a cgroup run for the sockets of those below it too: one ticket would take the
    /// place of another.
    fn check_apart(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let contains = |delivery: &&Delivery| {
            let other = delivery.cgroup.as_deref();
            other.is_some_and(|other| other.starts_with(&self.path) || self.path.starts_with(other))
        };
        let Some(other) = deliveries.iter().find(contains) else {
            return Ok(());
        };
        let tried = format!("deliver to {}", self.path.display());
        let why = format!(
            "the datapath delivers to {} already, and one of the two contains the other",
            other.label()
        );
        Err(Error::new(tried, why).remedy(
            "leave --cgroup out, or name cgroups that do not contain each other; \
             `pktmeta down --cgroup` ends a delivery",
        ))
    }

    /// Attaches the cgroup's hooks. Maps that sockets share are in `shared`, or go there. The registry
    /// is given with its pin.
    pub(super) fn deliver(
        &self,
        own: &Pins,
        shared: &Path,
        options: &UpOptions,
        (registry, registry_pin): (&Registry, &Path),
    ) -> Result<(), Error> {
        let slots = options.slots;
        let cpu_slots = cpu_slots(slots)?;
        pins::create(&own.directory)?;
        pins::create(shared)?;
        let counters = hooks::CGROUP.iter().map(|hook| hook.counters_map);
        let here = ["ring", "issued"].into_iter().chain(counters);
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
                .map(|name| (name, own.directory.join(name)))
                .chain(SHARED.map(|name| (name, shared.join(name))))
                .chain([("registry", registry_pin.into())])
                .collect(),
            ..ObjectOptions::default()
        };
        // All maps have to be ready before the first program runs.
        let mut objects = Vec::new();
        for hook in hooks::CGROUP {
            objects.push((hook, load(hook, &options)?));
        }
        ring::start(&own.directory, slots, self.id)?;
        self.give_ring(&own.directory.join("ring"))?;
        for (hook, object) in &objects {
            for program in hook.programs {
                let pin = own.directory.join(program.name);
                let cgroup = self.file.as_raw_fd();
                object.attach(program.name, cgroup, program.attach_type, 0, &pin)?;
            }
        }
        Ok(())
    }

    /// The owner of a cgroup's directory may look after what is in it: he may map its ring.
    fn give_ring(&self, ring: &Path) -> Result<(), Error> {
        let tried = || format!("give {} to the owner of its cgroup", ring.display());
        let owner = self.file.metadata().context(tried)?;
        std::os::unix::fs::chown(ring, Some(owner.uid()), Some(owner.gid())).context(tried)?;
        fs::set_permissions(ring, fs::Permissions::from_mode(0o600)).context(tried)
    }
}

/// Maps of sockets: a socket is the same for every cgroup.
const SHARED: [&str; 7] = [
    "connections",
    "histories",
    "pktmeta_tx",
    "pktmeta_tx_tickets",
    "selections",
    "syns",
    "tickets",
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
fn cpu_slots(slots: u32) -> Result<u32, Error> {
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
