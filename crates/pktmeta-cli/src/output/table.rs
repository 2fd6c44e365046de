//! Tables.

use super::text::{Unwritten, print};
use pktmeta_core::printable;
use std::{borrow::Cow, io::IsTerminal};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm, core::display_width};

/// A table with a heading, whose columns align. It is folded to fit the terminal.
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<Cell>,
    notes: Vec<String>,
}

/// What stands in a row and a column. Made of a text, that is one line, whatever the text is.
pub(crate) struct Cell {
    lines: Vec<String>,
    is_number: bool,
}

impl Cell {
    /// A cell of several lines.
    pub(crate) fn lines(lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self {
            lines: lines.into_iter().map(printable::name).collect(),
            is_number: false,
        }
    }
}

impl<T: AsRef<[u8]>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::lines([text])
    }
}

/// A number, at the right.
pub(crate) fn number(number: impl ToString) -> Cell {
    Cell {
        is_number: true,
        ..number.to_string().into()
    }
}

impl Table {
    /// Between columns.
    const GAP: usize = 2;
    /// Where notes stand, and where their further lines do.
    const NOTE: (&str, &str) = ("       ", "                ");

    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self {
            heading: heading.map(str::to_uppercase).into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell a column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(Row {
            cells: cells.into_iter().collect(),
            notes: Vec::new(),
        });
    }

    /// Adds a line below the last row: what it is, and what is to be said of that.
    pub(crate) fn note(&mut self, what: &str, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.notes
                .push(format!("{what:<7}  {}", printable::name(text)));
        }
    }

    pub(crate) fn print(&self) -> Result<(), Unwritten> {
        print(&self.to_text(Paper::of_stdout()))
    }

    fn to_text(&self, paper: Paper) -> String {
        let widths = self.widths(paper);
        let mut text = String::new();
        let heading = self.heading.iter().enumerate().map(|(column, word)| Cell {
            is_number: self.is_of_numbers(column),
            ..word.as_str().into()
        });
        add_row(&mut text, &heading.collect::<Vec<_>>(), &widths);
        for row in &self.rows {
            add_row(&mut text, &row.cells, &widths);
            let (first, next) = Self::NOTE;
            let options = options(paper.columns, paper.breaks_words);
            let options = options.initial_indent(first).subsequent_indent(next);
            for note in &row.notes {
                for line in textwrap::wrap(note, &options) {
                    text.extend([line.trim_end(), "\n"]);
                }
            }
        }
        text
    }

    /// True if a column has nothing but numbers, and blanks: its heading stands at the right too.
    fn is_of_numbers(&self, column: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.cells.get(column));
        let empty = |cell: &Cell| cell.lines.iter().all(String::is_empty);
        cells().any(|cell| cell.is_number) && cells().all(|cell| cell.is_number || empty(cell))
    }

    /// The width of each column: as wide as what is in it, unless all of it is wider than the
    /// paper.
    fn widths(&self, paper: Paper) -> Vec<usize> {
        let widest = |measure: fn(&str) -> usize| {
            let mut widths: Vec<_> = self.heading.iter().map(|word| measure(word)).collect();
            for row in &self.rows {
                for (width, cell) in widths.iter_mut().zip(&row.cells) {
                    let lines = cell.lines.iter().map(|line| measure(line));
                    *width = lines.fold(*width, usize::max);
                }
            }
            widths
        };
        let mut widths = widest(display_width);
        let words = widest(|line| line.split(' ').map(display_width).max().unwrap_or(0));
        narrow(&mut widths, &words, paper);
        if paper.breaks_words {
            let least: Vec<_> = words.iter().map(|&word| word.min(Paper::LEAST)).collect();
            narrow(&mut widths, &least, paper);
        }
        widths
    }
}

/// What is printed on.
#[derive(Clone, Copy)]
struct Paper {
    columns: usize,
    /// A terminal would break a line that is too long; a file, or another tool, wants words whole.
    breaks_words: bool,
}

impl Paper {
    /// The width of paper that does not tell.
    const COLUMNS: usize = 100;
    /// The least width of a column that has to be broken.
    const LEAST: usize = 10;

    fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let size = terminal_size::terminal_size_of(&stdout);
        Self {
            columns: size.map_or(Self::COLUMNS, |(width, _)| width.0.into()),
            breaks_words: stdout.is_terminal(),
        }
    }
}

/// Takes from the widest columns what is too much, as long as each keeps its least width.
fn narrow(widths: &mut [usize], least: &[usize], paper: Paper) {
    let gaps = Table::GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > paper.columns {
        let wide = widths
            .iter_mut()
            .zip(least)
            .filter(|(width, least)| **width > **least);
        let Some((widest, _)) = wide.max_by_key(|(width, _)| **width) else {
            return;
        };
        *widest -= 1;
    }
}

fn add_row(text: &mut String, cells: &[Cell], widths: &[usize]) {
    let columns = cells.iter().zip(widths);
    let folded: Vec<_> = columns
        .map(|(cell, &width)| (cell, width, fold(cell, width)))
        .collect();
    let lines = folded.iter().map(|(_, _, lines)| lines.len());
    for at in 0..lines.max().unwrap_or(0) {
        let mut line = String::new();
        for (cell, width, lines) in &folded {
            let part = lines.get(at).map_or("", |part| part);
            let blanks = " ".repeat(width.saturating_sub(display_width(part)));
            let gap = " ".repeat(Table::GAP);
            match cell.is_number {
                true => line.extend([&blanks, part, &gap]),
                false => line.extend([part, &blanks, &gap]),
            }
        }
        text.extend([line.trim_end(), "\n"]);
    }
}

fn fold(cell: &Cell, width: usize) -> Vec<Cow<'_, str>> {
    let lines = cell.lines.iter();
    lines
        .flat_map(|line| textwrap::wrap(line, options(width, true)))
        .collect()
}

fn options(width: usize, breaks_words: bool) -> Options<'static> {
    Options::new(width)
        .break_words(breaks_words)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets() -> Table {
        let mut table = Table::new(["proto", "uid", "process"]);
        table.row(["tcp".into(), number(0), "good".into()]);
        table.note("syn", "tenant=1 zone=wan");
        table.row(["tcp".into(), number(1000), "x\ntcp \x1b[31m".into()]);
        table
    }

    fn text(table: &Table, columns: usize, breaks_words: bool) -> String {
        table.to_text(Paper {
            columns,
            breaks_words,
        })
    }

    #[test]
    fn columns_align_and_a_cell_is_one_line_whatever_is_in_it() {
        let wanted = concat!(
            "PROTO   UID  PROCESS\n",
            "tcp       0  good\n",
            "       syn      tenant=1 zone=wan\n",
            "tcp    1000  x\\ntcp \\u{1b}[31m\n",
        );
        assert_eq!(text(&sockets(), 100, true), wanted);
    }

    #[test]
    fn what_is_too_wide_is_folded_at_blanks_and_on_a_terminal_within_words_too() {
        let wanted = concat!(
            "PROTO   UID  PROCESS\n",
            "tcp       0  good\n",
            "       syn      tenant=1\n",
            "                zone=wan\n",
            "tcp    1000  x\\ntcp\n",
            "             \\u{1b}[31m\n",
        );
        assert_eq!(text(&sockets(), 25, true), wanted);
        let mut addresses = Table::new(["local", "peer"]);
        addresses.row(["[2001:db8::1]:443".into(), "[2001:db8::2]:50000".into()]);
        let wanted = "LOCAL              PEER\n[2001:db8::1]:443  [2001:db8::2]:50000\n";
        assert_eq!(text(&addresses, 30, false), wanted);
        for columns in 22..40 {
            let folded = text(&addresses, columns, true);
            assert!(folded.lines().all(|line| line.len() <= columns), "{folded}");
        }
    }

    #[test]
    fn a_table_of_nothing_is_its_heading() {
        assert_eq!(text(&Table::new(["a", "b"]), 100, true), "A  B\n");
    }
}
