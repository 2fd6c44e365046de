//! Programs under traffic, with the kernel's own count of their time.

use super::row::{Method, Row};
use crate::{
    bpf::{Attached, Kind},
    effort::Effort,
    lab::{Lab, Records},
    samples::Samples,
};
use anyhow::Context;
use pktmeta::{UdpMeta, builtin};
use pktmeta_bpf::{
    Datapath, ProgramStats, StatsEnabled,
    hook::{Hook, Target},
    hooks::{self, cgroup_skb_ingress, getsockopt, sockops, tc_ingress, xdp},
};
use pktmeta_testkit::sandbox::Sandbox;
use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// Measures every program while datagrams and connections come in. A program that does nothing
/// runs beside each one on the same packets: what the kernel counts for it is the cost of counting.
pub(super) fn measure(sandbox: &Sandbox, effort: Effort) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::new(sandbox, "labelled")?;
    let up = lab.up(&builtin::NAMES)?;
    let programs = Programs {
        datapath: up.datapath(),
        empty: hooks_up()
            .filter(|hook| hook.name != xdp::HOOK.name)
            .map(|hook| Ok((hook.name, lab.attach_empty(kind(hook)?)?)))
            .collect::<anyhow::Result<_>>()?,
    };
    // An interface has only one XDP program: the one that does nothing gets an interface of its
    // own.
    let bare = Lab::new(sandbox, "bare")?;
    let empty_xdp = bare.attach_empty(Kind::XDP)?;
    let mut bare_udp = bare.udp()?;

    let mut reading_udp = lab.udp()?;
    reading_udp.server.enable_packet_meta()?;
    let mut plain_udp = lab.udp()?;
    let tcp = lab.tcp()?;
    let _client = tcp.be_client();

    let _counting = StatsEnabled::new().context("make the kernel count programs' time")?;
    let mut rows = Rows::new();
    for _ in effort.rounds("programs, bpf_stats") {
        let bare_before = ProgramStats::of(empty_xdp.as_fd())?;
        exchange(effort.seconds, || bare_udp.exchange(Records::Ignored))?;
        let bare_after = ProgramStats::of(empty_xdp.as_fd())?;
        let empty_xdp = Cost::between(&bare_before.into(), &bare_after.into());

        let before = programs.costs()?;
        let count = exchange(effort.seconds, || reading_udp.exchange(Records::Read))?;
        let costs = programs.costs()?.since(&before);
        let xdp = costs.own(&xdp::HOOK);
        rows.xdp
            .push(xdp.mean(), empty_xdp.mean(), xdp.runs / count);
        rows.tc.add(&costs, &tc_ingress::HOOK, count);
        rows.datagram.add(&costs, &cgroup_skb_ingress::HOOK, count);

        let before = programs.costs()?;
        let count = exchange(effort.seconds, || plain_udp.exchange(Records::Ignored))?;
        let costs = programs.costs()?.since(&before);
        rows.unread_datagram
            .add(&costs, &cgroup_skb_ingress::HOOK, count);

        let before = programs.costs()?;
        let count = exchange(effort.seconds, || tcp.exchange(Records::Read))?;
        let costs = programs.costs()?.since(&before);
        rows.segment.add(&costs, &cgroup_skb_ingress::HOOK, count);
        rows.establish.add(&costs, &sockops::HOOK, count);
        // Two questions for each connection.
        rows.answer.add(&costs, &getsockopt::HOOK, count);
    }
    Ok(rows.in_order())
}

/// Exchanges for so long; how much that came to.
fn exchange(
    duration: Duration,
    mut exchange: impl FnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < duration {
        count += exchange()?;
    }
    Ok(count as f64)
}

/// The hooks that come up, in the order in which a packet meets them.
fn hooks_up() -> impl Iterator<Item = &'static Hook> {
    hooks::of(Target::Interface).chain(hooks::of(Target::Cgroup))
}

/// How a program that does nothing is loaded to run beside a hook's.
fn kind(hook: &Hook) -> anyhow::Result<Kind> {
    let program = hook.programs.first();
    let kind = program.and_then(|program| Kind::of(program.attach));
    kind.with_context(|| format!("no program that does nothing can run beside {}", hook.name))
}

/// The programs of the datapath, and those that do nothing.
struct Programs<'u> {
    datapath: &'u Datapath,
    empty: Vec<(&'static str, Attached)>,
}

impl Programs<'_> {
    /// What each has cost until now.
    fn costs(&self) -> anyhow::Result<Costs> {
        let status = self.datapath.status()?;
        let found: Vec<_> = status.into_hooks().collect();
        let own = hooks_up().map(|hook| {
            let mut programs = found.iter().filter(|it| it.hook.name == hook.name);
            let program = programs.find_map(|it| it.programs.first());
            let program = program.with_context(|| format!("{} is not attached", hook.name))?;
            Ok((hook.name, program.clone().into()))
        });
        let empty = self.empty.iter().map(|(hook, program)| {
            let stats = ProgramStats::of(program.as_fd()).context("ask an empty program")?;
            Ok((*hook, stats.into()))
        });
        Ok(Costs {
            own: own.collect::<anyhow::Result<_>>()?,
            empty: empty.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// What programs cost, by the names of their hooks.
struct Costs {
    own: Vec<(&'static str, Cost)>,
    empty: Vec<(&'static str, Cost)>,
}

impl Costs {
    fn since(&self, before: &Self) -> Self {
        let difference = |after: &[(&'static str, Cost)], before: &[(&'static str, Cost)]| {
            let pairs = before.iter().zip(after);
            pairs
                .map(|((hook, before), (_, after))| (*hook, Cost::between(before, after)))
                .collect()
        };
        Self {
            own: difference(&self.own, &before.own),
            empty: difference(&self.empty, &before.empty),
        }
    }

    fn own(&self, hook: &Hook) -> Cost {
        find(&self.own, hook)
    }

    fn empty(&self, hook: &Hook) -> Cost {
        find(&self.empty, hook)
    }
}

fn find(costs: &[(&'static str, Cost)], hook: &Hook) -> Cost {
    let found = costs.iter().find(|(other, _)| *other == hook.name);
    found.map_or_else(Cost::default, |(_, cost)| *cost)
}

/// What a program cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    nanoseconds: f64,
    runs: f64,
}

impl Cost {
    fn between(before: &Self, after: &Self) -> Self {
        Self {
            nanoseconds: after.nanoseconds - before.nanoseconds,
            runs: after.runs - before.runs,
        }
    }

    /// Of one run.
    fn mean(self) -> f64 {
        self.nanoseconds / self.runs
    }
}

impl From<ProgramStats> for Cost {
    fn from(stats: ProgramStats) -> Self {
        Self {
            nanoseconds: stats.run_time_ns as f64,
            runs: stats.run_count as f64,
        }
    }
}

struct Rows {
    xdp: Row,
    tc: Row,
    datagram: Row,
    unread_datagram: Row,
    segment: Row,
    establish: Row,
    answer: Row,
}

impl Rows {
    fn new() -> Self {
        let row = |program, case, unit| Row {
            program,
            case,
            method: Method::Counted,
            unit,
            runs: Samples::default(),
            nanoseconds: Samples::default(),
            empty: Samples::default(),
        };
        Self {
            xdp: row("xdp", "creates: 4 fields, label", "datagram"),
            tc: row("tc ingress", "adds flow_hash to a record", "datagram"),
            datagram: row("cgroup_skb", "UDP, ticket", "datagram"),
            unread_datagram: row("cgroup_skb", "UDP, nobody reads records", "datagram"),
            segment: row("cgroup_skb", "TCP, segments of a connection", "connection"),
            establish: row("sockops", "TCP, events of a connection", "connection"),
            answer: row(
                "getsockopt",
                "TCP, the SYN's and latest record",
                "connection",
            ),
        }
    }

    fn in_order(self) -> Vec<Row> {
        vec![
            self.xdp,
            self.tc,
            self.datagram,
            self.unread_datagram,
            self.segment,
            self.establish,
            self.answer,
        ]
    }
}

impl Row {
    /// Adds a round in which so many of the row's unit were exchanged.
    fn add(&mut self, costs: &Costs, hook: &Hook, count: f64) {
        let own = costs.own(hook);
        self.push(own.mean(), costs.empty(hook).mean(), own.runs / count);
    }
}
