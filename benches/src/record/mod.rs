//! A record, beside what one would use instead: nanoseconds and instructions of each operation in
//! BPF, bytes, and the codec on the host.

mod clock;
mod codec;
mod objects;
mod sizes;
mod subjects;

use crate::{
    effort::Effort,
    output::{self, number, spread_cells, table},
    samples::Samples,
};
use anyhow::Context;
use codec::Codec;
use comfy_table::Cell;
use objects::Objects;
use serde_json::{Value, json};
use subjects::{Hook, PKTMETA, RAW, Subject};

/// Everything about records.
pub(crate) struct Record {
    rows: Vec<Row>,
    /// The clock's noise, by what loops are compared with.
    noise: Vec<(String, f64)>,
    codec: Codec,
}

/// One alternative of one operation.
struct Row {
    subject: Subject,
    /// Nanoseconds of the operation, without its loop.
    nanoseconds: Samples,
    /// The same behind a locked instruction each, so that one cannot overlap with the next.
    apart: Option<Samples>,
    /// Of its loop: half of all rounds are closer to their median. A tick of the clock, if more.
    noise: f64,
}

/// Measures everything.
pub(crate) fn measure(effort: Effort) -> anyhow::Result<Record> {
    let objects = Objects::load()?;
    let subjects = subjects::subjects(&objects)?;
    let measured = clock::measure(&objects, &subjects, effort)?;
    let mut codec = Codec::new()?;
    for _ in effort.rounds("record, on the host") {
        codec.round();
    }
    let mut noise = Vec::new();
    let mut rows = Vec::new();
    for (subject, own) in subjects.iter().zip(&measured) {
        if subject.alternative.is_empty() {
            let name = format!("{} {}", subject.hook.name(), subject.base.name());
            noise.push((name, deviation(&own.close).max(subject.tick())));
            continue;
        }
        let base = clock::base_of(&subjects, subject);
        let base = base.with_context(|| format!("{} has no base", subject.program))?;
        // A turn of the loop may have two operations.
        let turns = subjects[base].operations / subject.operations;
        let of_turn = |samples: &Samples| samples.map(|nanoseconds| nanoseconds * turns);
        let base = &measured[base];
        let apart = own.apart.as_ref().zip(base.apart.as_ref());
        rows.push(Row {
            nanoseconds: own.close.minus(&of_turn(&base.close)),
            apart: apart.map(|(own, base)| own.minus(&of_turn(base))),
            noise: deviation(&of_turn(&base.close)).max(subject.tick()),
            subject: subject.clone(),
        });
    }
    Ok(Record { rows, noise, codec })
}

/// The median distance from the median.
fn deviation(samples: &Samples) -> f64 {
    let median = samples.spread().median;
    let distances = samples.map(|value| (value - median).abs());
    distances.spread().median
}

impl Record {
    pub(crate) fn print(&self) {
        for (hook, title) in [
            (Hook::Xdp, "Record in XDP: nanoseconds of one operation"),
            (Hook::Tc, "Record in TC: nanoseconds of one operation"),
        ] {
            self.print_hook(hook, title);
        }
        let noise = self.noise.iter();
        let noise = noise.map(|(name, noise)| format!("{name} {noise:.3}"));
        println!(
            "Noise of the clock, ns per operation: {}\n",
            noise.collect::<Vec<_>>().join(", ")
        );
        let mut bytes = table(["format", "6 fields", "8 fields", "10 fields"]);
        for (format, sizes) in sizes::sizes() {
            let mut cells = vec![Cell::new(format)];
            cells.extend(sizes.map(|size| number(size as f64, 0)));
            bytes.add_row(cells);
        }
        output::print("Record: bytes in front of a packet", &bytes, &[]);
        let mut host = table(["on the host", "ns", "min", "max", "million a second"]);
        let parse = self.codec.parse.iter();
        let parse = parse.map(|(name, _, samples)| (format!("parse {name}"), samples));
        let calls = self.codec.calls.iter();
        for (name, samples) in parse.chain(calls.map(|(name, samples)| (name.to_string(), samples)))
        {
            let mut cells = vec![Cell::new(name)];
            cells.extend(spread_cells(samples, 1));
            cells.push(number(1000.0 / samples.spread().median, 1));
            host.add_row(cells);
        }
        output::print("Record: the codec in Rust, one core", &host, &[]);
    }

    fn print_hook(&self, hook: Hook, title: &str) {
        let mut rows = table([
            "operation",
            "with",
            "ns",
            "min",
            "max",
            "of raw",
            "pktmeta is",
            "apart",
            "insns",
            "bytes",
            "verified",
            "",
        ]);
        let mut before = "";
        for row in self.rows.iter().filter(|row| row.subject.hook == hook) {
            let Subject {
                operation,
                alternative,
                anatomy,
                ..
            } = row.subject;
            let mut cells = vec![
                Cell::new(if operation == before { "" } else { operation }),
                Cell::new(alternative),
            ];
            before = operation;
            cells.extend(spread_cells(&row.nanoseconds, 2));
            cells.push(times(self.of_raw(row)));
            cells.push(times(self.pktmeta_is(row)));
            let median = |apart: &Samples| number(apart.spread().median, 1);
            cells.push(row.apart.as_ref().map_or(Cell::new(""), median));
            let insns = match anatomy.called {
                0 => anatomy.inlined.to_string(),
                called => format!("{}+{called}", anatomy.inlined),
            };
            cells.push(Cell::new(insns));
            cells.push(number(anatomy.machine_code as f64, 0));
            cells.push(number(anatomy.verified as f64, 0));
            let like_raw = self.is_like_raw(row);
            cells.push(Cell::new(if like_raw { BELOW_NOISE } else { "" }));
            rows.add_row(cells);
        }
        let notes: &[&str] = if hook == Hook::Tc { &NOTES } else { &[] };
        output::print(title, &rows, notes);
    }

    /// Another alternative of the same operation.
    fn beside(&self, row: &Row, alternative: &str) -> Option<&Row> {
        let of = |row: &Row| (row.subject.hook, row.subject.operation);
        let mut rows = self.rows.iter();
        rows.find(|other| of(other) == of(row) && other.subject.alternative == alternative)
    }

    /// How many times the raw struct this takes.
    fn of_raw(&self, row: &Row) -> Option<Samples> {
        let raw = self.beside(row, RAW)?;
        (row.subject.alternative != RAW).then(|| row.nanoseconds.ratio_to(&raw.nanoseconds))
    }

    /// How many times this pktmeta takes.
    fn pktmeta_is(&self, row: &Row) -> Option<Samples> {
        let pktmeta = self.beside(row, PKTMETA)?;
        (row.subject.alternative != PKTMETA).then(|| pktmeta.nanoseconds.ratio_to(&row.nanoseconds))
    }

    /// Whether the clock cannot tell this from the raw struct.
    fn is_like_raw(&self, row: &Row) -> bool {
        let raw = self
            .beside(row, RAW)
            .filter(|_| row.subject.alternative != RAW);
        raw.is_some_and(|raw| {
            let more = row.nanoseconds.minus(&raw.nanoseconds).spread().median;
            more.abs() < row.noise
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let spread = |samples: Option<Samples>| samples.map(|samples| samples.spread().to_json());
        let rows = self.rows.iter().map(|row| {
            let Subject {
                hook,
                operation,
                alternative,
                anatomy,
                ..
            } = row.subject;
            json!({
                "hook": hook.name(),
                "operation": operation,
                "alternative": alternative,
                "ns": row.nanoseconds.spread().to_json(),
                "of_raw": spread(self.of_raw(row)),
                "pktmeta_is": spread(self.pktmeta_is(row)),
                "apart_ns": spread(row.apart.clone()),
                "noise_ns": row.noise,
                "below_noise": self.is_like_raw(row),
                "insns": anatomy.inlined,
                "insns_called": anatomy.called,
                "machine_code_bytes": anatomy.machine_code,
                "verified_insns": anatomy.verified,
            })
        });
        let parse = self.codec.parse.iter().map(|(name, _, samples)| {
            let rate = samples.map(|nanoseconds| 1e9 / nanoseconds);
            json!({
                "inputs": name,
                "ns": samples.spread().to_json(),
                "per_second": rate.spread().to_json(),
            })
        });
        let calls = self.codec.calls.iter();
        let calls =
            calls.map(|(name, samples)| json!({ "call": name, "ns": samples.spread().to_json() }));
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "noise_ns": self.noise.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "bytes": sizes::to_json(),
            "host": {
                "parse": parse.collect::<Vec<_>>(),
                "calls": calls.collect::<Vec<_>>(),
            },
        })
    }
}

/// Median, minimum and maximum of ratios.
fn times(ratio: Option<Samples>) -> Cell {
    let text = ratio.map(|ratio| {
        let spread = ratio.spread();
        format!(
            "{:.2} ({:.2} to {:.2})",
            spread.median, spread.min, spread.max
        )
    });
    Cell::new(text.unwrap_or_default())
}

const BELOW_NOISE: &str = "below the clock's noise";

const NOTES: [&str; 7] = [
    "ns: without the loop that repeats the operation; the processor may overlap one with the next.",
    "Apart: each waits behind a locked instruction, which hides what needs no memory: a raw \
     struct.",
    "Of raw: how many times a raw struct at the same hook takes. Pktmeta is: how many times this",
    "alternative pktmeta takes. Insns: BPF instructions of the operation, inlined + in functions \
     it",
    "calls; bytes: of machine code, of all; verified: by the verifier, in a program with one",
    "operation. Below the clock's noise: no telling it from the raw struct.",
    "Move: of 9 values of 8 bytes; in traits the 8 others stand behind it, in pktmeta before it.",
];
