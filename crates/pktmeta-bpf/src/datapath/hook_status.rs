//! The state of a hook: whether it is attached, and its counters.

use crate::{
    dir::Dir,
    error::Error,
    hook::Hook,
    links::{Attached, Link},
    sys::{self, ProgramStats},
};
use std::os::fd::AsFd;

/// The state of a hook.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookStatus {
    /// The hook.
    pub hook: &'static Hook,
    /// Whether its programs run where they should.
    pub attached: Attached,
    /// The programs that run there; none without `CAP_SYS_ADMIN`, which looking takes.
    pub programs: Vec<ProgramStats>,
    /// Its counters, in the hook's order.
    pub counters: Vec<u64>,
}

impl HookStatus {
    pub(super) fn of(hook: &'static Hook, pins: &Dir) -> Result<Self, Error> {
        let links = hook.programs.iter().map(|program| Link::of(pins, program));
        let links: Vec<_> = links.collect();
        let stats = |link: &Link| match link {
            Link::Attached { program, .. } => {
                let program = sys::program_by_id(*program).ok()?;
                ProgramStats::of(program.as_fd()).ok()
            }
            _ => None,
        };
        Ok(Self {
            hook,
            attached: Attached::all(&links),
            programs: links.iter().filter_map(stats).collect(),
            counters: read_counters(hook, pins)?,
        })
    }

    /// The counter called `name`.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        let at = self
            .hook
            .counters
            .iter()
            .position(|counter| counter.name == name)?;
        self.counters.get(at).copied()
    }
}

/// The counters of a hook; none if it is not there.
pub(super) fn read_counters(hook: &Hook, pins: &Dir) -> Result<Vec<u64>, Error> {
    match hook.counters_map {
        Some(map) if pins.has(map)? => hook.read_counters(&pins.open_map(map)?),
        _ => Ok(Vec::new()),
    }
}
