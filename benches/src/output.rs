//! Tables.

use crate::samples::{Samples, Spread};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A table whose columns align, with a heading.
pub(crate) fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.map(str::to_uppercase));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Median, minimum and maximum, a cell each.
pub(crate) fn spread_cells(samples: &Samples, decimals: usize) -> [Cell; 3] {
    let Spread { min, median, max } = samples.spread();
    [median, min, max].map(|value| number(value, decimals))
}

/// A number at the right.
pub(crate) fn number(value: f64, decimals: usize) -> Cell {
    Cell::new(format!("{value:.decimals$}")).set_alignment(CellAlignment::Right)
}

/// Prints a table under a title, without the blanks at its lines' ends.
pub(crate) fn print(title: &str, table: &Table, notes: &[&str]) {
    println!("{title}\n");
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
    println!();
    for note in notes {
        println!("{note}");
    }
    println!();
}
