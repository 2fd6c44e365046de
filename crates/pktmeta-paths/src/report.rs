//! What came of it all: a row for each path.

use std::{collections::BTreeMap, fmt};

/// The kind of place at which a record was looked for.
///
/// Exhaustive: each has its own names in tables and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// In an XDP program.
    Xdp,
    /// In a TC program, of what comes in.
    TcIngress,
    /// In a TC program, of what is forwarded.
    TcEgress,
    /// A datagram's, through the ring.
    Ring,
    /// A datagram's, by `getsockopt`.
    Ticket,
    /// A connection's, of its SYN.
    Syn,
    /// A connection's, of a segment.
    Segment,
}

impl Hook {
    /// In the order of `enum hook` of bpf/paths.h.
    pub(crate) const IN_KERNEL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];

    pub(crate) fn is_at_socket(self) -> bool {
        !Self::IN_KERNEL.contains(&self)
    }
}

/// The result of a look at a record.
///
/// Exhaustive: code that skips a result would call a path better than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every field has the value that was written.
    Right,
    /// The same, and the kernel refuses to write the record. Only a survey tries.
    ReadOnly,
    /// There is a record, and a field that was written is not in it.
    Absent,
    /// There is no record.
    NoRecord,
    /// Another error: the record was overwritten in the ring, or is not known any more.
    Refused,
    /// A value that nobody wrote for this packet.
    Wrong,
}

impl Verdict {
    /// In the order of `enum verdict` of bpf/paths.h.
    pub(crate) const IN_KERNEL: [Self; 6] = [
        Self::Right,
        Self::ReadOnly,
        Self::Absent,
        Self::NoRecord,
        Self::Refused,
        Self::Wrong,
    ];
}

/// Where packets were looked at: at a hook of a device, or at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stop {
    pub(crate) hook: Hook,
    /// The device's index, 0 at a socket.
    pub(crate) ifindex: u32,
}

impl Stop {
    pub(crate) fn socket(hook: Hook) -> Self {
        Self { hook, ifindex: 0 }
    }
}

/// Looks of one worth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    /// When the first one was, in nanoseconds; 0 at sockets.
    pub(crate) first: u64,
}

/// What a run saw.
#[derive(Debug, Default)]
pub struct Report {
    pub(crate) packets: u64,
    pub(crate) arrived: u64,
    cells: BTreeMap<&'static str, Counts>,
    /// The host and the name of each device, by its index.
    pub(crate) devices: BTreeMap<u32, (&'static str, String)>,
    /// Paths that this kernel does not have, and why.
    pub(crate) missing: BTreeMap<&'static str, String>,
    /// The first wrong value at each hook of each path, in words.
    findings: BTreeMap<(&'static str, Hook), String>,
}

pub(crate) type Counts = BTreeMap<(Stop, Verdict), Tally>;

impl Report {
    pub(crate) fn count(&mut self, cell: &'static str, stop: Stop, verdict: Verdict, new: Tally) {
        let cell = self.cells.entry(cell).or_default();
        let tally = cell.entry((stop, verdict)).or_insert(Tally {
            first: new.first,
            ..Tally::default()
        });
        tally.count += new.count;
        tally.first = tally.first.min(new.first);
    }

    /// What was seen of a path.
    pub(crate) fn counts(&self, cell: &str) -> Option<&Counts> {
        self.cells.get(cell)
    }

    /// Remembers a wrong value, unless one was found there before.
    pub(crate) fn found(&mut self, cell: &'static str, hook: Hook, what: impl FnOnce() -> String) {
        self.findings.entry((cell, hook)).or_insert_with(what);
    }

    /// Packets that were sent.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Looks of this worth, on all paths.
    #[must_use]
    pub fn total(&self, verdict: Verdict) -> u64 {
        self.cells.keys().map(|cell| self.of(cell, verdict)).sum()
    }

    /// Looks of this worth, on one path.
    #[must_use]
    pub fn of(&self, cell: &str, verdict: Verdict) -> u64 {
        self.sum(cell, |_, other| other == verdict)
    }

    /// Looks of this worth at sockets, on one path.
    #[must_use]
    pub fn at_sockets(&self, cell: &str, verdict: Verdict) -> u64 {
        self.sum(cell, |hook, other| other == verdict && hook.is_at_socket())
    }

    /// Names of the paths that packets took.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.cells.keys().copied()
    }

    fn sum(&self, cell: &str, of: impl Fn(Hook, Verdict) -> bool) -> u64 {
        let counts = self.cells.get(cell).into_iter().flatten();
        let counts = counts.filter(|&(&(stop, verdict), _)| of(stop.hook, verdict));
        counts.map(|(_, tally)| tally.count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["right", "absent", "none", "refused", "WRONG", "at sockets"];
        let verdicts = Verdict::IN_KERNEL.into_iter();
        let verdicts = verdicts.filter(|verdict| *verdict != Verdict::ReadOnly);
        write!(f, "{:<24}", "path")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>11}"))?;
        for cell in self.paths() {
            write!(f, "\n{cell:<24}")?;
            for verdict in verdicts.clone() {
                write!(f, "{:>11}", self.of(cell, verdict))?;
            }
            let right = self.at_sockets(cell, Verdict::Right);
            let all = self.sum(cell, |hook, _| hook.is_at_socket());
            write!(f, "{:>11}", format!("{}%", 100 * right / all.max(1)))?;
        }
        for (cell, why) in &self.missing {
            write!(f, "\n{cell:<24} not on this kernel: {why}")?;
        }
        for ((cell, hook), what) in &self.findings {
            write!(f, "\nWRONG: {cell}, {hook:?}: {what}")?;
        }
        write!(
            f,
            "\n{} packets, {} arrived, {} right, {} absent, {} without a record, {} refused, {} \
             wrong",
            self.packets,
            self.arrived,
            self.total(Verdict::Right),
            self.total(Verdict::Absent),
            self.total(Verdict::NoRecord),
            self.total(Verdict::Refused),
            self.total(Verdict::Wrong)
        )
    }
}
