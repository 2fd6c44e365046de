//! The settings that `up` gives to programs, as `const volatile` globals.

use crate::datapath::Senders;
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, MapType,
    btf::{
        Btf,
        types::{DataSec, Var},
    },
    query::{ProgInfoIter, ProgInfoQueryOptions},
};

/// The settings of programs when they are loaded.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many prefixes have labels; `None` if packets' addresses are not looked up.
    pub(crate) labels: Option<usize>,
    /// True if packets begin with the header of IP, not of Ethernet.
    pub(crate) raw_ip: bool,
    /// Slots of the ring, a power of two.
    pub(crate) slots: u32,
    /// Slots of each CPU, a power of two.
    pub(crate) cpu_slots: u32,
    /// Which users may send records.
    pub(crate) senders: Senders,
}

/// A global that the loader sets.
#[derive(Clone, Copy)]
pub(crate) struct Global {
    pub(crate) name: &'static str,
    /// Its bytes.
    pub(crate) value: fn(&Settings) -> Vec<u8>,
}

pub(crate) const LABELS_USED: Global = Global {
    name: "labels_used",
    value: |settings| vec![u8::from(settings.labels.is_some())],
};

pub(crate) const RAW_IP: Global = Global {
    name: "raw_ip",
    value: |settings| vec![settings.raw_ip.into()],
};

pub(crate) const RING_SLOTS: Global = Global {
    name: "ring_slots",
    value: |settings| settings.slots.to_ne_bytes().into(),
};

pub(crate) const RING_BITS: Global = Global {
    name: "ring_bits",
    value: |settings| settings.slots.ilog2().to_ne_bytes().into(),
};

pub(crate) const RING_CPU_BITS: Global = Global {
    name: "ring_cpu_bits",
    value: |settings| settings.cpu_slots.ilog2().to_ne_bytes().into(),
};

/// `bpf/senders.bpf.h` reads them together.
pub(crate) const SENDERS_ALL: Global = Global {
    name: "senders_all",
    value: |settings| vec![u8::from(settings.senders == Senders::All)],
};

pub(crate) const SENDERS_COUNT: Global = Global {
    name: "senders_count",
    value: |settings| {
        let count = users(settings).len().min(Senders::MAX) as u32;
        count.to_ne_bytes().into()
    },
};

pub(crate) const SENDERS: Global = Global {
    name: "senders",
    value: |settings| {
        let users = users(settings).iter();
        let mut list: Vec<u8> = users.flat_map(|user| user.to_ne_bytes()).collect();
        list.resize(size_of::<u32>() * Senders::MAX, 0);
        list
    },
};

fn users(settings: &Settings) -> &[u32] {
    match &settings.senders {
        Senders::All => &[],
        Senders::Users(users) => users,
    }
}

/// The users that a loaded program lets send records; `None` if the program does not ask, is gone,
/// or cannot be looked at.
pub(crate) fn senders_of(program: u32) -> Option<Senders> {
    let constants = Constants::of(program)?;
    if *constants.get(SENDERS_ALL.name)?.first()? != 0 {
        return Some(Senders::All);
    }
    let count = u32::from_ne_bytes(constants.get(SENDERS_COUNT.name)?.try_into().ok()?);
    let users = constants.get(SENDERS.name)?.chunks_exact(size_of::<u32>());
    let users = users.take(count as usize);
    let users = users.map(|user| Some(u32::from_ne_bytes(user.try_into().ok()?)));
    users.collect::<Option<_>>().map(Senders::Users)
}

/// The constants of a loaded program.
struct Constants {
    /// The name and place of each.
    places: Vec<(String, std::ops::Range<usize>)>,
    bytes: Vec<u8>,
}

impl Constants {
    const SECTION: &str = ".rodata";

    fn of(program: u32) -> Option<Self> {
        let btf = Btf::from_prog_id(program).ok()?;
        let section = btf.type_by_name::<DataSec<'_>>(Self::SECTION)?;
        let place = |at: u32, size| at as usize..at as usize + size;
        let named = section.iter().filter_map(|entry| {
            let name = btf.type_by_id::<Var<'_>>(entry.ty)?;
            let name = name.name()?.to_string_lossy().into_owned();
            Some((name, place(entry.offset, entry.size)))
        });
        let places = named.collect();
        let options = ProgInfoQueryOptions::default().include_map_ids(true);
        let mut programs = ProgInfoIter::with_query_opts(options);
        let program = programs.find(|info| info.id == program)?;
        let bytes = program.map_ids.into_iter().find_map(|map| {
            let map = MapHandle::from_map_id(map).ok()?;
            let constant = map.map_type() == MapType::Array && map.max_entries() == 1;
            (constant && map.name().to_string_lossy().ends_with(Self::SECTION)).then_some(())?;
            map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()?
        })?;
        Some(Self { places, bytes })
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, place) = self.places.iter().find(|(known, _)| known == name)?;
        self.bytes.get(place.clone())
    }
}
