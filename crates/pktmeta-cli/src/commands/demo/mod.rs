//! `pktmeta demo`: the whole way, on hosts of its own.

mod lab;
mod python;
mod tally;
mod tcp;
mod udp;
mod way;

use super::own_hosts::{self, progress};
use crate::output::{self, Table, Unwritten, number, say};
use anyhow::bail;
use lab::{Family, Lab};
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode};
use tally::{Connections, Datagrams};

/// Show the way of a packet from XDP to applications, on hosts made for it
///
/// Makes two network namespaces joined by a veth pair, labels what one of them receives, and sends
/// UDP datagrams and TCP connections over IPv4 and IPv6. Each payload says what its label must be,
/// so that every record is checked. Needs root and leaves nothing behind. Exits with 1 if a record
/// was wrong or missing.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Datagrams to send, half of them over IPv4
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(2..))]
    datagrams: u64,
    /// Connections to open, half of them over IPv4
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..))]
    connections: u64,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        match Sandbox::current() {
            Some(sandbox) => self.run_in(&sandbox, bpffs),
            None => own_hosts::run("the demo"),
        }
    }

    fn run_in(self, sandbox: &Sandbox, bpffs: &Path) -> anyhow::Result<ExitCode> {
        if pktmeta::info(&std::net::UdpSocket::bind(("127.0.0.1", 0))?).is_ok() {
            bail!(
                "start the demo: a datapath delivers records to this process's cgroup already, \
                 and the two would get in each other's way\n  \
                 = run `pktmeta down` first, or `pktmeta status` to see it at work"
            );
        }
        let lab = Lab::new(sandbox, bpffs)?;
        let way = way::follow_one_packet(&lab)?;
        if !self.json {
            way.print()?;
        }
        let python = python::read_record(&lab)?;
        if !self.json {
            python.print()?;
        }
        let report = self.traffic(&lab)?;
        if self.json {
            say!("{}", output::json_line(&report.to_json(&way, &python)))?;
        } else {
            report.print()?;
        }
        Ok(if report.is_right(&self) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn traffic(&self, lab: &Lab) -> anyhow::Result<Report> {
        let mut report = Report::default();
        for family in Family::BOTH {
            let bar = progress(&format!("{family} datagrams"), half(self.datagrams, family));
            let datagrams = udp::exchange(lab, family, half(self.datagrams, family), &bar)?;
            let bar = progress(
                &format!("{family} connections"),
                half(self.connections, family),
            );
            let connections = tcp::exchange(lab, family, half(self.connections, family), &bar)?;
            report.families.push((family, datagrams, connections));
        }
        Ok(report)
    }
}

/// The result of the traffic.
#[derive(Default)]
struct Report {
    families: Vec<(Family, Datagrams, Connections)>,
}

impl Report {
    fn total(&self) -> (Datagrams, Connections) {
        let mut total = (Datagrams::default(), Connections::default());
        for (_, datagrams, connections) in &self.families {
            total.0.add(datagrams);
            total.1.add(connections);
        }
        total
    }

    /// True if all packets arrived with the right records.
    fn is_right(&self, demo: &Demo) -> bool {
        let (datagrams, connections) = self.total();
        datagrams.sent == demo.datagrams
            && datagrams.delivered > 0
            && datagrams.labelled == datagrams.delivered
            && datagrams.mismatched == 0
            && connections.opened == demo.connections
            && connections.labelled == connections.opened
            && connections.mismatched == 0
    }

    fn print(&self) -> Result<(), Unwritten> {
        let (datagrams, connections) = self.total();
        let mut rows = Table::new([
            "",
            "datagrams",
            "delivered",
            "labelled",
            "mismatched",
            "overrun",
            "unlabelled",
            "connections",
            "labelled",
            "mismatched",
        ]);
        let mut add = |name: String, datagrams: &Datagrams, connections: &Connections| {
            let counts = datagrams.counts().into_iter().chain(connections.counts());
            let counts = counts.filter(|(name, _)| *name != "connections_unlabelled");
            rows.row(std::iter::once(name.into()).chain(counts.map(|(_, count)| number(count))));
        };
        for (family, datagrams, connections) in &self.families {
            add(family.to_string(), datagrams, connections);
        }
        add("both".into(), &datagrams, &connections);
        rows.print()?;
        say!(
            "\n{} of {} records were wrong.",
            datagrams.mismatched + connections.mismatched,
            datagrams.labelled + connections.labelled
        )
    }

    fn to_json(&self, way: &way::Way, python: &python::Python) -> Value {
        let (datagrams, connections) = self.total();
        let mut json = counts_json(&datagrams, &connections);
        for (family, datagrams, connections) in &self.families {
            json[family.key()] = counts_json(datagrams, connections);
        }
        json["way"] = way.to_json();
        json["python"] = python.to_json();
        json
    }
}

fn counts_json(datagrams: &Datagrams, connections: &Connections) -> Value {
    let counts = datagrams.counts().into_iter().chain(connections.counts());
    counts
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect()
}

/// Runs this same command in a sandbox: what the demo makes goes with it, even if it is killed.
fn half(all: u64, family: Family) -> u64 {
    match family {
        Family::V4 => all - all / 2,
        Family::V6 => all / 2,
    }
}
