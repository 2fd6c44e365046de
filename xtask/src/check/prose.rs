//! The width of the documents' prose: a line fits a terminal, and a change of it is read as one.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::tool;

/// In columns.
const WIDTH: usize = 120;

/// Checks the Markdown files among those that git tracks.
pub(super) fn check(tracked: &[PathBuf]) -> Result {
    let mut faults = String::new();
    for path in tracked {
        if path.extension().is_some_and(|kind| kind == "md") && !is_generated(path) {
            let text = fs::read_to_string(tool::root().join(path))
                .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
            for (line, width) in too_wide(&text) {
                let _ = writeln!(faults, "{}:{line}: {width} columns", path.display());
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "prose that is wider than {WIDTH} columns:\n{faults}"
        )))
    }
}

/// What `pktmeta gen` writes is laid out by that.
fn is_generated(path: &std::path::Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "snapshots")
}

/// Lines, from 1, that are too wide, with their widths. Rows of tables and blocks of code cannot be
/// broken, nor can a line of a single word, such as an address.
fn too_wide(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut is_code = false;
    let prose = (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with('|')
    });
    let wide = prose.map(|(number, line)| (number, line, line.chars().count()));
    wide.filter(|(_, line, width)| *width > WIDTH && line.trim().contains(' '))
        .map(|(number, _, width)| (number, width))
}

#[test]
fn only_prose_can_be_too_wide() {
    let wide = "wide ".repeat(30);
    let text = format!(
        "short\n{wide}\n| {wide} |\n```\n{wide}\n```\n{}\n",
        "x".repeat(200)
    );
    let found: Vec<_> = too_wide(&text).collect();
    assert_eq!(found, [(2, 150)]);
}
