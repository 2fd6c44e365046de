//! The width of lines: one fits a terminal, beside another in a review, and a change of it is read
//! as one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::tool;

/// Checks the documents, the Rust and the C among the files that git tracks.
pub(super) fn check(tracked: &[PathBuf]) -> Result {
    let mut faults = String::new();
    for path in tracked.iter().filter(|path| !is_of_others(path)) {
        let extension = path.extension().and_then(|kind| kind.to_str());
        let too_wide: fn(&str) -> Vec<Wide> = match extension {
            Some("md") => |text| too_wide(prose(text), 120),
            Some("rs") => |text| too_wide(code(text), 100),
            // clang-format breaks its lines, and leaves comments as they are.
            Some("c" | "h") => |text| wider((1..).zip(text.lines()), 100).collect(),
            _ => continue,
        };
        let text = fs::read_to_string(tool::root().join(path))
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        for Wide { line, width } in too_wide(&text) {
            let _ = writeln!(faults, "{}:{line}: {width} columns", path.display());
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "lines of prose that are wider than 120 columns, or of code wider than 100:\n{faults}"
        )))
    }
}

/// The kernel's headers are as the kernel has them, and what `pktmeta gen` writes as that lays it
/// out.
pub(super) fn is_of_others(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "uapi" || part.as_os_str() == "snapshots")
}

/// The lines of Markdown that can be broken, with their numbers from 1: no row of a table, and no
/// block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with('|')
    })
}

/// The lines of Rust that can be broken: no row of a table in a comment, whose marks are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| {
        let comment = line.trim_start().strip_prefix("//");
        !comment.is_some_and(|text| text.trim_start_matches(['/', '!', ' ']).starts_with('|'))
    })
}

/// A line that is too wide.
#[derive(Debug, PartialEq)]
struct Wide {
    line: usize,
    width: usize,
}

/// Lines of one word besides a comment's mark, such as an address, cannot be broken.
fn too_wide<'t>(lines: impl Iterator<Item = (usize, &'t str)>, most: usize) -> Vec<Wide> {
    let can_break = |line: &str| line.trim_start_matches(['/', '!', ' ']).contains(' ');
    wider(lines.filter(|(_, text)| can_break(text)), most).collect()
}

fn wider<'t>(
    lines: impl Iterator<Item = (usize, &'t str)>,
    most: usize,
) -> impl Iterator<Item = Wide> {
    lines
        .map(|(line, text)| Wide {
            line,
            width: width(text),
        })
        .filter(move |wide| wide.width > most)
}

fn width(line: &str) -> usize {
    const TAB: usize = 8;
    line.chars().fold(0, |column, char| match char {
        '\t' => column + TAB - column % TAB,
        _ => column + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prose_can_be_too_wide() {
        let wide = "wide ".repeat(30);
        let text = format!(
            "short\n{wide}\n| {wide} |\n```\n{wide}\n```\n{}\n",
            "x".repeat(200)
        );
        assert_eq!(
            too_wide(prose(&text), 120),
            [Wide {
                line: 2,
                width: 150
            }]
        );
    }

    #[test]
    fn code_can_be_too_wide_in_every_line_but_rows_of_tables_and_addresses() {
        let wide = "wide ".repeat(30);
        let text = format!(
            "{wide}\n//! | {wide} |\n/// {wide}\n    // <https://{}>\n",
            "x".repeat(200)
        );
        let found = too_wide(code(&text), 100);
        assert_eq!(
            found,
            [
                Wide {
                    line: 1,
                    width: 150
                },
                Wide {
                    line: 3,
                    width: 154
                }
            ]
        );
    }

    #[test]
    fn a_tab_is_as_wide_as_it_is_shown() {
        assert_eq!(width("\tif"), 10);
        assert_eq!(width("int x;\t/*"), 10);
    }
}
