//! What arrives at the sockets of a cgroup, with the names of its fields.

use super::log::{Absence, Log};
use crate::{clock::monotonic, output::remark};
use anyhow::bail;
use pktmeta_bpf::{
    Datapath, HostRegistry, RegistryState,
    watch::{Event, Watch},
};
use pktmeta_core::schema::Dictionary;
use std::{
    fs::File,
    mem,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    time::Duration,
};

/// What arrives. Only records of one registry prove themselves to a [`Watch`], so that they have
/// the names of that one; when another takes its place, so does another watch.
pub(crate) struct Source<'a> {
    cgroup: &'a File,
    datagrams: bool,
    host: HostRegistry,
    watch: Watch,
    dictionary: Dictionary,
    /// Of the registry when it was read.
    state: Option<RegistryState>,
    /// What came before is for the watch before to tell.
    since: Duration,
    /// Events of watches before that came faster than they were read.
    lost: u64,
}

impl<'a> Source<'a> {
    /// How often to look whether the registry is another, when nothing arrives.
    pub(crate) const LOOK: Duration = Duration::from_secs(1);

    pub(crate) fn new(cgroup: &'a File, datagrams: bool, bpffs: &Path) -> anyhow::Result<Self> {
        let host = HostRegistry::new(bpffs);
        // First: of a registry that changes in between, the change is seen later.
        let state = host.state()?;
        let dictionary = host.dictionary()?;
        Ok(Self {
            cgroup,
            datagrams,
            watch: Watch::new(cgroup, dictionary.registry(), datagrams)?,
            dictionary,
            host,
            state,
            since: Duration::ZERO,
            lost: 0,
        })
    }

    /// Logs what has arrived.
    pub(crate) fn log(&mut self, log: &mut Log) -> anyhow::Result<()> {
        let mut events = self.arrived()?;
        // Afterwards: until then the registry was the same.
        match self.host.state()? {
            Some(now) if Some(now) != self.state => {
                if self
                    .state
                    .is_some_and(|before| before.is_same_registry(&now))
                {
                    self.read_names(now)?;
                } else {
                    let next = self.change_watch(now, &mut events)?;
                    log.write(&self.dictionary, events, Absence::Unknown);
                    self.dictionary = next;
                    return Ok(());
                }
            }
            // Where there is none nobody labels, and what is still to be told has its names.
            _ => {}
        }
        log.write(&self.dictionary, events, Absence::Known);
        Ok(())
    }

    /// Ends it: logs the rest, and says how much is missing.
    pub(crate) fn end(mut self, log: &mut Log) -> anyhow::Result<()> {
        self.log(log)?;
        let (mut last, lost) = self.watch.end()?;
        last.retain(|event| event.time >= self.since);
        log.write(&self.dictionary, last, Absence::Known);
        match self.lost + lost {
            0 => {}
            lost => remark!("{lost} more came faster than they were logged"),
        }
        Ok(())
    }

    fn arrived(&self) -> anyhow::Result<Vec<Event>> {
        let events = self.watch.events()?;
        Ok(events.filter(|event| event.time >= self.since).collect())
    }

    /// The registry has other fields or names now; numbers do not change their meaning.
    fn read_names(&mut self, now: RegistryState) -> anyhow::Result<()> {
        self.dictionary = self.host.dictionary()?;
        self.state = Some(now);
        Ok(())
    }

    /// Watches for records of another registry from now on; what the watch before told goes to
    /// `events`. The names of the other are returned.
    fn change_watch(
        &mut self,
        now: RegistryState,
        events: &mut Vec<Event>,
    ) -> anyhow::Result<Dictionary> {
        let dictionary = self.host.dictionary()?;
        let next = Watch::new(self.cgroup, dictionary.registry(), self.datagrams)?;
        // From here on both see all: what comes is for the next to tell.
        let since = monotonic();
        let (last, lost) = mem::replace(&mut self.watch, next).end()?;
        let told = last.into_iter().filter(|event| event.time >= self.since);
        events.extend(told);
        events.retain(|event| event.time < since);
        self.since = since;
        self.lost += lost;
        self.state = Some(now);
        Ok(dictionary)
    }
}

impl AsFd for Source<'_> {
    /// Readable when something has arrived. Another after [`Source::log`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// Where nothing is delivered there is nothing to log.
pub(crate) fn check_up(bpffs: &Path) -> anyhow::Result<()> {
    if Datapath::new(bpffs).status()?.is_down() {
        bail!(
            "log records: nothing is up that delivers any\n  \
             = `pktmeta up --iface IF` starts it; where an XDP program of somebody else writes the \
             records, `pktmeta up --cgroup PATH`"
        );
    }
    Ok(())
}
