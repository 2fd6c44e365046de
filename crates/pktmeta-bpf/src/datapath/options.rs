//! Options of `up`.

use crate::{
    error::{Context, Error, ErrorKind},
    labels::Label,
};
use pktmeta_core::{builtin, schema::Schema};
use std::{ffi::OsString, path::PathBuf};

/// The programs to attach, and where.
///
/// Exhaustive, so that callers name the options that matter and take the rest from
/// [`UpOptions::default`]: more may come.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The interfaces, in the network namespace of the calling thread, by any of their names; none
    /// only to deliver to another cgroup.
    pub interfaces: Vec<OsString>,
    /// The cgroup whose sockets get records; if `None`, the cgroups that get them already, else the
    /// root.
    pub cgroup: Option<PathBuf>,
    /// Which users of that cgroup may label what they send.
    pub send: Senders,
    /// Schemas to register next to the built-in fields.
    pub schemas: Vec<Schema>,
    /// Values by source address. With `None` the program looks no address up, and labels cannot be
    /// added before the interface has gone down.
    pub labels: Option<Vec<Label>>,
    /// The built-in fields to write: some of [`builtin::NAMES`].
    pub produce: Vec<String>,
    /// How XDP attaches.
    pub mode: AttachMode,
    /// Slots for the records of datagrams that wait for their readers, a power of two.
    pub slots: u32,
}

impl UpOptions {
    /// The default of every option, on `interface`.
    #[must_use]
    pub fn new(interface: impl Into<OsString>) -> Self {
        Self {
            interfaces: vec![interface.into()],
            ..Self::default()
        }
    }

    /// The built-in fields by default: those that cost next to nothing, and that do not keep GRO
    /// from merging packets.
    pub const PRODUCE: [&str; 2] = [builtin::RX_IFINDEX.name(), builtin::RX_QUEUE.name()];

    /// Slots by default: 4 MiB, some sixty times the datagrams that can wait in a socket with the
    /// default receive buffer.
    pub const SLOTS: u32 = 16384;

    /// Fewest and most slots.
    pub const SLOTS_RANGE: std::ops::RangeInclusive<u32> = 64..=1 << 22;

    pub(super) fn produces(&self, field: &str) -> bool {
        self.produce.iter().any(|name| name == field)
    }
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            cgroup: None,
            send: Senders::All,
            schemas: Vec::new(),
            labels: None,
            produce: Self::PRODUCE.map(String::from).into(),
            mode: AttachMode::Default,
            slots: Self::SLOTS,
        }
    }
}

/// Which users may label what they send, with fields that applications may write.
///
/// Exhaustive: it decides who may write, so that code which shows it must know each answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Senders {
    /// Every one.
    #[default]
    All,
    /// These, by number in the initial user namespace; at most [`Senders::MAX`]. Nobody, if none.
    Users(Vec<u32>),
}

impl Senders {
    /// Most users that can be named.
    pub const MAX: usize = 16;
}

/// How an XDP program attaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachMode {
    /// In the driver if it can, else generic.
    #[default]
    Default,
    /// In the driver, or not at all.
    Native,
    /// After the driver has made an skb: works everywhere, slower.
    Generic,
}

/// Slots of each CPU, in a ring of so many.
pub(crate) fn cpu_slots(slots: u32) -> Result<u32, Error> {
    if !slots.is_power_of_two() || !UpOptions::SLOTS_RANGE.contains(&slots) {
        let (min, max) = UpOptions::SLOTS_RANGE.into_inner();
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("make a ring of {slots} slots"),
            "not a size that it can have",
        )
        .with_remedy(format!("give a power of two from {min} to {max}")));
    }
    let cpus = libbpf_rs::num_possible_cpus().context(|| "count the CPUs".into())?;
    let cpus = u32::try_from(cpus.next_power_of_two()).unwrap_or(u32::MAX);
    match slots / cpus {
        0 => Err(Error::new(
            ErrorKind::Invalid,
            format!("make a ring of {slots} slots"),
            "each CPU needs one",
        )
        .with_remedy(format!("give at least {cpus}"))),
        each => Ok(each),
    }
}
