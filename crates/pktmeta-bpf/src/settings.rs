//! What `up` decides and programs have to know: their `const volatile` globals.

use crate::datapath::Senders;

/// What programs are told when they are loaded.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many prefixes have labels.
    pub(crate) labels: usize,
    /// Packets begin with the header of IP, not of Ethernet.
    pub(crate) raw_ip: bool,
    /// Slots of the ring, a power of two.
    pub(crate) slots: u32,
    /// Those of each CPU, a power of two.
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
    value: |settings| vec![u8::from(settings.labels > 0)],
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
