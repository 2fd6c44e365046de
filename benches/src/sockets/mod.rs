//! What applications see: datagrams and connections per second, what a record costs them, and
//! memory.

mod goal;
mod memory;
mod observe;
mod rates;
mod reads;

use crate::{
    effort::Effort,
    output::{self, table},
};
use goal::Goal;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};

/// What was measured.
pub(crate) struct Sockets {
    rates: rates::Rates,
    reads: reads::Reads,
    memory: memory::Memory,
}

/// Measures all of it.
pub(crate) fn measure(sandbox: &Sandbox, effort: Effort) -> anyhow::Result<Sockets> {
    let observer = observe::Observer::new()?;
    Ok(Sockets {
        rates: rates::measure(sandbox, &observer, effort)?,
        reads: reads::measure(sandbox, effort)?,
        memory: memory::measure(sandbox, &observer)?,
    })
}

impl Sockets {
    pub(crate) fn print(&self) {
        self.rates.print();
        self.reads.print();
        self.memory.print();
        let mut rows = table(["what is wanted", "median", "min", "max", ""]);
        for goal in self.goals() {
            let mut cells = vec![goal.text()];
            let spread = goal.ratio.spread();
            let ratios = [spread.median, spread.min, spread.max];
            cells.extend(ratios.map(|ratio| format!("{ratio:.3}")));
            cells.push(if goal.is_met() { "met" } else { "MISSED" }.into());
            rows.add_row(cells);
        }
        output::print("Goals: ratios, round by round", &rows, &[]);
    }

    pub(crate) fn to_json(&self) -> Value {
        let goals = self.goals().map(|goal| {
            json!({
                "what": goal.text(),
                "ratio": goal.ratio.spread().to_json(),
                "met": goal.is_met(),
            })
        });
        json!({
            "rates": self.rates.to_json(),
            "reads": self.reads.to_json(),
            "memory": self.memory.to_json(),
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    fn goals(&self) -> impl Iterator<Item = Goal> {
        self.rates.goals().into_iter().chain(self.reads.goals())
    }
}
