//! Programs under traffic, with the kernel's own count of their time.

use super::{Method, Row};
use crate::{
    Effort,
    bpf::{Attached, Kind},
    lab::{Lab, Records},
    samples::Samples,
};
use anyhow::Context;
use pktmeta::{UdpMeta, builtin};
use pktmeta_bpf::{Datapath, ProgramStats, StatsEnabled};
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
        empty: Hook::ALL
            .into_iter()
            .filter(|hook| *hook != Hook::Xdp)
            .map(|hook| Ok((hook, lab.attach_empty(hook.kind())?)))
            .collect::<anyhow::Result<_>>()?,
    };
    // An interface has only one XDP program: the one that does nothing gets an interface of its own.
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
        let xdp = costs.own(Hook::Xdp);
        rows.xdp
            .push(xdp.mean(), empty_xdp.mean(), xdp.runs / count);
        rows.tc.add(&costs, Hook::Tc, count);
        rows.datagram.add(&costs, Hook::CgroupSkb, count);

        let before = programs.costs()?;
        let count = exchange(effort.seconds, || plain_udp.exchange(Records::Ignored))?;
        let costs = programs.costs()?.since(&before);
        rows.unread_datagram.add(&costs, Hook::CgroupSkb, count);

        let before = programs.costs()?;
        let count = exchange(effort.seconds, || tcp.exchange(Records::Read))?;
        let costs = programs.costs()?.since(&before);
        rows.segment.add(&costs, Hook::CgroupSkb, count);
        rows.establish.add(&costs, Hook::Sockops, count);
        // Two questions for each connection.
        rows.answer.add(&costs, Hook::Getsockopt, count);
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

/// Where programs run, in the order in which a packet meets them.
#[derive(Clone, Copy, PartialEq)]
enum Hook {
    Xdp,
    Tc,
    CgroupSkb,
    Sockops,
    Getsockopt,
}

impl Hook {
    const ALL: [Self; 5] = [
        Self::Xdp,
        Self::Tc,
        Self::CgroupSkb,
        Self::Sockops,
        Self::Getsockopt,
    ];

    fn kind(self) -> Kind {
        match self {
            Self::Xdp => Kind::XDP,
            Self::Tc => Kind::TC,
            Self::CgroupSkb => Kind::CGROUP_SKB,
            Self::Sockops => Kind::SOCKOPS,
            Self::Getsockopt => Kind::GETSOCKOPT,
        }
    }

    /// pktmeta's program there.
    fn program(self) -> &'static str {
        match self {
            Self::Xdp => "pktmeta_xdp_label",
            Self::Tc => "pktmeta_tc_ingress",
            Self::CgroupSkb => "pktmeta_deliver",
            Self::Sockops => "pktmeta_establish",
            Self::Getsockopt => "pktmeta_getsockopt",
        }
    }
}

/// The programs of the datapath, and those that do nothing.
struct Programs<'u> {
    datapath: &'u Datapath,
    empty: Vec<(Hook, Attached)>,
}

impl Programs<'_> {
    /// What each has cost until now.
    fn costs(&self) -> anyhow::Result<Costs> {
        let status = self.datapath.status()?;
        let programs = status.into_hooks().flat_map(|hook| hook.programs);
        let programs: Vec<_> = programs.collect();
        let own = Hook::ALL.into_iter().map(|hook| {
            // The kernel keeps the first 15 bytes of a name.
            let found = programs
                .iter()
                .find(|program| hook.program().starts_with(&program.name));
            let found = found.with_context(|| format!("{} is not attached", hook.program()))?;
            Ok((hook, found.clone().into()))
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

/// What programs cost.
struct Costs {
    own: Vec<(Hook, Cost)>,
    empty: Vec<(Hook, Cost)>,
}

impl Costs {
    fn since(&self, before: &Self) -> Self {
        let difference = |after: &[(Hook, Cost)], before: &[(Hook, Cost)]| {
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

    fn own(&self, hook: Hook) -> Cost {
        find(&self.own, hook)
    }

    fn empty(&self, hook: Hook) -> Cost {
        find(&self.empty, hook)
    }
}

fn find(costs: &[(Hook, Cost)], hook: Hook) -> Cost {
    let found = costs.iter().find(|(other, _)| *other == hook);
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
    fn add(&mut self, costs: &Costs, hook: Hook, count: f64) {
        let own = costs.own(hook);
        self.push(own.mean(), costs.empty(hook).mean(), own.runs / count);
    }
}
