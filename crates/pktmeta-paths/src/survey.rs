//! Where records are kept, and where they are lost: every path, stop by stop, on a kernel as it is.

use crate::{
    paths::{self, Loss, PATHS},
    report::{Hook, Report, Stop, Tally, Verdict},
    round::{self, Options},
};
use anyhow::Result;
use pktmeta_testkit::sandbox::Sandbox;
use std::collections::BTreeMap;

/// What became of records on each path.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// Packets that were sent.
    pub packets: u64,
    /// In the order of the table of paths.
    pub paths: Vec<Surveyed>,
}

/// A path, and what was seen there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Surveyed {
    /// As `--path` takes it.
    pub name: &'static str,
    /// False if the record in front of its packets is a forger's: then `Gone` is right.
    pub ours: bool,
    /// The places where packets were looked at, in the order in which packets came there; or what
    /// this kernel does not have.
    pub stops: Result<Vec<Seen>, String>,
    /// Where the kernel is known to lose records on this path.
    pub loss: Option<&'static Loss>,
}

/// What was seen at one place.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The hook, or the option of a socket.
    pub hook: Hook,
    /// `host`, where packets come in; `receiver`, which is behind it; `container`.
    pub host: Option<&'static str>,
    /// The name of the device.
    pub device: Option<String>,
    counts: BTreeMap<Verdict, u64>,
}

/// The fate of a record.
///
/// Exhaustive: each has its own names in tables and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every packet had its own record, every field of it.
    Intact,
    /// The same, and the kernel refuses to write some of them.
    ReadOnly,
    /// Some packets had their own record, others none.
    Partly,
    /// No packet had a record.
    Gone,
    /// A packet had a value that nobody wrote for it.
    Wrong,
}

impl Survey {
    /// Sends `packets` over each path whose name contains `only`, with packet sockets open on
    /// every host if `captured`; `progress` hears how many were sent, and of how many.
    ///
    /// # Errors
    /// Something could not be set up, or no path has such a name. A path that this kernel does not
    /// have is no error, and neither is a wrong value: see [`Fate`].
    pub fn new(
        sandbox: &Sandbox,
        packets: u64,
        only: Option<String>,
        captured: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self> {
        let chosen = |name: &str| {
            only.as_ref()
                .is_none_or(|only| name.contains(only.as_str()))
        };
        let names = PATHS.iter().filter(|path| chosen(path.name));
        let all = packets * names.clone().count() as u64;
        let options = Options {
            packets: all,
            round: packets.min(ROUND) * names.clone().count() as u64,
            only: only.clone(),
            survey: true,
            captured,
            ..Options::default()
        };
        let report = round::run(sandbox, &options, |report| progress(report.packets, all))?;
        Ok(Self {
            packets: report.packets,
            paths: names
                .map(|path| surveyed(path, &report, captured))
                .collect(),
        })
    }
}

/// Packets of a path that share a schema.
const ROUND: u64 = 100;

impl Seen {
    /// Looks of this worth.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.counts.get(&verdict).copied().unwrap_or(0)
    }

    /// All looks.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Looks that found every field of the packet's own record.
    #[must_use]
    pub fn intact(&self) -> u64 {
        self.count(Verdict::Right) + self.count(Verdict::ReadOnly)
    }

    /// What became of the records.
    #[must_use]
    pub fn fate(&self) -> Fate {
        if self.count(Verdict::Wrong) > 0 {
            Fate::Wrong
        } else if self.intact() == 0 {
            Fate::Gone
        } else if self.intact() < self.looks() {
            Fate::Partly
        } else if self.count(Verdict::ReadOnly) > 0 {
            Fate::ReadOnly
        } else {
            Fate::Intact
        }
    }
}

fn surveyed(path: &'static paths::Path, report: &Report, captured: bool) -> Surveyed {
    let stops = match report.missing.get(path.name) {
        Some(why) => Err(why.clone()),
        None => Ok(seen(path.name, report)),
    };
    Surveyed {
        name: path.name,
        ours: !path.name.starts_with("forged"),
        stops,
        loss: path.loss.as_ref().or(captured.then_some(&paths::SHARED)),
    }
}

/// The stops of a path in the order in which its packets came there, then those at sockets.
fn seen(path: &str, report: &Report) -> Vec<Seen> {
    let mut stops: BTreeMap<Stop, (u64, BTreeMap<Verdict, u64>)> = BTreeMap::new();
    for (&(stop, verdict), &Tally { count, first }) in report.counts(path).into_iter().flatten() {
        let (earliest, counts) = stops.entry(stop).or_insert((first, BTreeMap::new()));
        *earliest = first.min(*earliest);
        counts.insert(verdict, count);
    }
    let mut stops: Vec<_> = stops.into_iter().collect();
    stops.sort_by_key(|(stop, (first, _))| (stop.hook.is_at_socket(), *first, stop.hook));
    let seen = stops.into_iter().map(|(stop, (_, counts))| {
        let device = report.devices.get(&stop.ifindex);
        Seen {
            hook: stop.hook,
            host: device.map(|(host, _)| *host),
            device: device.map(|(_, name)| name.clone()),
            counts,
        }
    });
    seen.collect()
}
