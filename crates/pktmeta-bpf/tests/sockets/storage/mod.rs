//! What the datapath keeps of sockets, counted.

use crate::{bpf, lab::LIMIT};
use libbpf_rs::{Iter, MapCore, MapHandle, MapType, Object, ObjectBuilder};
use pktmeta_testkit::sandbox::Sandbox;
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

/// The maps that the cgroups of a datapath share: socket storage, and the records of SYNs.
pub(crate) struct Storage {
    maps: BTreeMap<String, MapHandle>,
    counter: Object,
}

impl Storage {
    /// Of the datapath that is up.
    pub(crate) fn open(sandbox: &Sandbox) -> Self {
        let pins = fs::read_dir(sandbox.bpffs().join("pktmeta/maps")).unwrap();
        let maps = pins.map(|pin| {
            let pin = pin.unwrap();
            let map = MapHandle::from_pinned_path(pin.path()).unwrap();
            (pin.file_name().into_string().unwrap(), map)
        });
        let elf = bpf::compile("storage/count.bpf.c");
        let counter = ObjectBuilder::default().open_memory(&elf).unwrap();
        Self {
            maps: maps.collect(),
            counter: counter.load().unwrap(),
        }
    }

    /// One of the maps.
    pub(crate) fn map(&self, name: &str) -> &MapHandle {
        &self.maps[name]
    }

    /// How many sockets or SYNs have something in each map; maps without any are left out.
    pub(crate) fn count(&mut self) -> BTreeMap<&str, usize> {
        let counter = self.counter.progs_mut().next().unwrap();
        let counts = self.maps.iter().map(|(name, map)| {
            let count = match map.map_type() {
                MapType::SkStorage => {
                    let link = counter.attach_iter(map.as_fd()).unwrap();
                    let mut found = Vec::new();
                    Iter::new(&link).unwrap().read_to_end(&mut found).unwrap()
                }
                _ => map.keys().count(),
            };
            (name.as_str(), count)
        });
        counts.filter(|&(_, count)| count > 0).collect()
    }

    /// Waits until no more is left than this: the kernel frees sockets some time after they are
    /// closed.
    #[track_caller]
    pub(crate) fn wait_until_left<const N: usize>(&mut self, wanted: [(&str, usize); N]) {
        let wanted = BTreeMap::from(wanted);
        let deadline = Instant::now() + LIMIT;
        while self.count() != wanted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.count(), wanted);
    }
}
