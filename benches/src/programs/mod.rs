//! Nanoseconds that each BPF program adds.

mod counted;
mod row;
mod run;

use crate::{
    effort::Effort,
    output::{self, number, spread_cells, table},
    samples::{Samples, Spread},
};
use pktmeta_testkit::sandbox::Sandbox;
use row::Row;
use serde_json::{Value, json};

/// What every program adds.
pub(crate) struct Programs {
    rows: Vec<Row>,
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
                "A record of 4 fields costs {median:.2} times a raw struct ({min:.2} to \
                 {max:.2}).\n"
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
    "PROG_RUN: the same packet again and again, all caches warm. \"creates\": its metadata is \
     taken",
    "away before each run; \"overwrites\": it has the record of the run before.",
];
