//! The cgroup that `up` delivers to, and the attaching of its hooks.

use super::pin_dirs::PinDirs;
use crate::{
    datapath::{
        delivery::{Delivery, PinnedDelivery},
        options::{UpOptions, cpu_slots},
    },
    dir::Dir,
    error::{Context, Error, ErrorKind, Shown},
    hook::{Attach, Target},
    hooks,
    host::{self, Cgroups, Found},
    object::{Object, ObjectOptions},
    pins::Pins,
    ring,
    settings::Settings,
    stores, sys,
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

/// Where an `up` delivers.
pub(super) enum Plan {
    /// To the cgroups that are delivered to already.
    Join(Vec<Delivery>),
    /// To this cgroup as well.
    Add(Cgroup, Vec<Delivery>),
}

impl Plan {
    /// The plan that follows from the options and from the deliveries that exist. Deliveries that
    /// have ended are put aside.
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
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        "use the datapath that is up",
                        why,
                    )
                    .with_remedy("name another with --cgroup, or run `pktmeta down` first"));
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
        let id = host::cgroup_id(&file)?;
        // Show the path below the root, whatever name it was given by.
        let path = match Cgroups::all().find(id) {
            Found::There(path) => path,
            _ => path.into(),
        };
        Ok(Self { path, file, id })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Programs of a cgroup also run for the sockets of cgroups below it, so that one ticket would
    /// take the place of another. The kernel tells which programs run here, even those of cgroups
    /// above that are out of sight.
    fn check_apart(&self, deliveries: &[PinnedDelivery]) -> Result<(), Error> {
        let tried = || format!("deliver to {}", self.path.shown());
        let attach = Attach::CgroupIngress.kernel();
        let running = sys::effective_programs(self.file.as_fd(), attach).context(tried)?;
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
        Err(Error::new(ErrorKind::InUse, tried(), why).with_remedy(
            "leave --cgroup out, or name cgroups that do not contain each other; \
             `pktmeta down --cgroup` ends a delivery",
        ))
    }

    /// Attaches the hooks of cgroups.
    pub(super) fn deliver(
        &self,
        dirs: &PinDirs<'_>,
        options: &UpOptions,
        registry: &Registry,
    ) -> Result<(), Error> {
        let settings = Settings {
            labels: None,
            raw_ip: false,
            slots: options.slots,
            cpu_slots: cpu_slots(options.slots)?,
            senders: options.send.clone(),
        };
        // All maps have to be ready before the first program runs.
        let mut objects = Vec::new();
        for hook in hooks::of(Target::Cgroup) {
            let options = ObjectOptions {
                registry: Some(registry),
                ..ObjectOptions::default()
            };
            let pin = |name: &str, scope| dirs.path(name, scope);
            objects.push((hook, Object::load_hook(hook, &settings, pin, options)?));
        }
        ring::start(dirs.own, options.slots, self.id)?;
        self.give_ring(dirs.own)?;
        for (hook, object) in &objects {
            for program in hook.programs {
                let cgroup = self.file.as_raw_fd();
                object
                    .attach(program, cgroup, 0, dirs.own)
                    .map_err(|error| error.during(format!("deliver to {}", self.path.shown())))?;
            }
        }
        Ok(())
    }

    /// The owner of a cgroup's directory manages the cgroup, and so may map its ring.
    fn give_ring(&self, pins: &Dir) -> Result<(), Error> {
        let ring = pins.path_of(stores::RING.pin);
        let tried = || format!("give {} to the owner of its cgroup", ring.shown());
        let owner = self.file.metadata().context(tried)?;
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        let (mode, no_flags) = (Mode::RUSR | Mode::WUSR, AtFlags::empty());
        rustix::fs::chmodat(pins, stores::RING.pin, mode, no_flags).context(tried)?;
        let own =
            rustix::fs::statat(pins, stores::RING.pin, AtFlags::SYMLINK_NOFOLLOW).context(tried)?;
        if (own.st_uid, own.st_gid) == (owner.uid(), owner.gid()) {
            return Ok(());
        }
        let given = rustix::fs::chownat(pins, stores::RING.pin, Some(uid), Some(gid), no_flags);
        given.map_err(|error| {
            Error::of(tried(), error).with_remedy("that takes CAP_CHOWN: run it as root")
        })
    }
}
