//! Nanoseconds that each BPF program adds.

mod counted;
mod run;

use crate::{
    Effort,
    output::{self, number, spread_cells, table},
    samples::{Samples, Spread},
};
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};

/// What every program adds.
pub(crate) struct Programs {
    rows: Vec<Row>,
}

/// One program in one situation, beside a program that does nothing.
struct Row {
    program: &'static str,
    case: &'static str,
    method: Method,
    /// What is added up: "packet", "connection", ...
    unit: &'static str,
    /// How often the program runs for each of these.
    runs: Samples,
    /// Of one run.
    nanoseconds: Samples,
    /// Of one run of a program that does nothing, measured in the same way.
    empty: Samples,
}

/// How a program was measured.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    /// `BPF_PROG_TEST_RUN`, on the same packet again and again.
    Run,
    /// `bpf_stats_enabled`, under traffic.
    Counted,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "PROG_RUN",
            Self::Counted => "bpf_stats",
        }
    }
}

/// Measures all programs.
pub(crate) fn measure(sandbox: &Sandbox, effort: Effort) -> anyhow::Result<Programs> {
    let mut rows = run::measure(effort)?;
    rows.extend(counted::measure(sandbox, effort)?);
    Ok(Programs { rows })
}

impl Programs {
    pub(crate) fn print(&self) {
        let mut rows = table([
            "program",
            "case",
            "measured by",
            "empty",
            "added ns",
            "min",
            "max",
            "runs",
            "in all",
        ]);
        for row in &self.rows {
            let added = spread_cells(&row.added(), 0);
            let empty = number(row.empty.spread().median, 0);
            let mut cells = vec![
                row.program.into(),
                row.case.into(),
                row.method.name().into(),
            ];
            cells.push(empty);
            cells.extend(added);
            cells.push(number(row.runs.spread().median, 1));
            let total = row.added_for_unit().spread().median;
            cells.push(format!("{total:>5.0} per {}", row.unit).into());
            rows.add_row(cells);
        }
        output::print("Programs: nanoseconds that a run adds", &rows, &NOTES);
        if let Some(ratio) = self.ratio_to_raw_struct() {
            let Spread { min, median, max } = ratio.spread();
            println!(
                "A record of 4 fields costs {median:.2} times a raw struct ({min:.2} to {max:.2}).\n"
            );
        }
    }

    /// What a record of the XDP program's fields costs, compared with what people write without
    /// pktmeta.
    fn ratio_to_raw_struct(&self) -> Option<Samples> {
        let added = |case| {
            let row = self.rows.iter().find(|row| row.case == case)?;
            Some(row.added())
        };
        Some(added(run::RECORD)?.ratio_to(&added(run::RAW_STRUCT)?))
    }

    pub(crate) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "program": row.program,
                "case": row.case,
                "method": row.method.name(),
                "ns": row.nanoseconds.spread().to_json(),
                "empty_ns": row.empty.spread().to_json(),
                "added_ns": row.added().spread().to_json(),
                "unit": row.unit,
                "runs": row.runs.spread().to_json(),
                "added_ns_per_unit": row.added_for_unit().spread().to_json(),
            })
        });
        let ratio = self.ratio_to_raw_struct();
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "record_to_raw_struct": ratio.map(|ratio| ratio.spread().to_json()),
        })
    }
}

const NOTES: [&str; 3] = [
    "Added: what the program took more than a program that does nothing, measured in the same way.",
    "PROG_RUN: the same packet again and again, all caches warm. \"creates\": its metadata is taken",
    "away before each run; \"overwrites\": it has the record of the run before.",
];

impl Row {
    /// Adds a round.
    fn push(&mut self, nanoseconds: f64, empty: f64, runs: f64) {
        self.nanoseconds.push(nanoseconds);
        self.empty.push(empty);
        self.runs.push(runs);
    }

    /// What a run adds.
    fn added(&self) -> Samples {
        self.nanoseconds.minus(&self.empty)
    }

    /// What all runs for one packet, connection, ... add together.
    fn added_for_unit(&self) -> Samples {
        self.added().against(&self.runs, |added, runs| added * runs)
    }
}
