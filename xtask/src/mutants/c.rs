//! Mutants of the BPF programs and headers, from a table: `xtask/mutants/c.txt`.
//!
//! They are tried in a copy of the workspace below `target`, one after another: build, run the
//! tests that the table names, put the lines back.

mod table;
mod tree;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;

use super::score::Score;
use crate::error::{Error, Result};
use table::{Mutant, Table};
use tree::{Outcome, Tests, Tree};

/// The share of mutants that the tests have to catch, in percent.
const WANTED: usize = 90;

/// Tries each mutant whose file or lines contain the text that the argument is; all without one.
pub(super) fn run(arguments: &[OsString]) -> Result<Score> {
    let wanted = match arguments {
        [] => String::new(),
        [text] => text.to_string_lossy().into_owned(),
        [_, other, ..] => {
            return Err(Error::new(format!(
                "one text chooses mutants, but there is also `{}`",
                other.display()
            )));
        }
    };
    let table = Table::read()?;
    let chosen: Vec<&Mutant> = table.mutants().filter(|it| it.contains(&wanted)).collect();
    if chosen.is_empty() {
        return Err(Error::new(format!("no mutant contains `{wanted}`")));
    }
    let tree = Tree::copy()?;
    let mut tests: BTreeMap<&[String], Tests> = BTreeMap::new();
    let mut score = Score::new(WANTED);
    for (index, mutant) in chosen.iter().enumerate() {
        let tests = match tests.entry(mutant.tests()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(tree.tests(mutant.tests())?),
        };
        let outcome = tree.attempt(mutant, tests)?;
        eprintln!("{} of {}: {outcome}: {mutant}", index + 1, chosen.len());
        match outcome {
            Outcome::Caught => score.caught += 1,
            Outcome::TimedOut => score.timed_out += 1,
            Outcome::Unviable => score.unviable += 1,
            Outcome::Survived if mutant.reason().is_some() => score.explained += 1,
            Outcome::Survived => score.unexplained.push(mutant.to_string()),
        }
    }
    Ok(score)
}
