//! How C code is laid out: `.clang-format` has the rules.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::installed::{self, Found, Python};
use crate::error::{Error, Result};
use crate::tool;

/// That of Debian 12 too (clang-format-19). The index has it for every machine.
const CLANG_FORMAT: Python = Python {
    name: "clang-format",
    version: "19.1.7",
};

/// In columns, as `.clang-format` has it; that leaves comments as they are.
const WIDTH: usize = 100;

const TAB: usize = 8;

/// Checks the C files among those that git tracks.
pub(super) fn check(tracked: &[PathBuf]) -> Result<Found> {
    let files: Vec<_> = tracked.iter().filter(|path| is_ours(path)).collect();
    let mut faults = String::new();
    for path in &files {
        let text = fs::read_to_string(tool::root().join(path))
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        for (line, width) in (1..).zip(text.lines().map(width)) {
            if width > WIDTH {
                let _ = writeln!(faults, "{}:{line}: {width} columns", path.display());
            }
        }
    }
    if !faults.is_empty() {
        return Err(Error::new(format!(
            "C that is wider than {WIDTH} columns:\n{faults}"
        )));
    }
    let files = files.iter().filter_map(|path| path.to_str());
    let arguments: Vec<_> = ["--dry-run", "--Werror"].into_iter().chain(files).collect();
    let hint = |error| {
        Error::new(format!(
            "{error}\n`target/tools/bin/clang-format -i FILE` lays a file out"
        ))
    };
    installed::python(&CLANG_FORMAT, &arguments).map_err(hint)
}

/// The kernel's headers are as the kernel has them, and snapshots as the generator lays them out.
fn is_ours(path: &Path) -> bool {
    let is_c = path
        .extension()
        .is_some_and(|kind| kind == "c" || kind == "h");
    let mut folders = path.components();
    is_c && !folders.any(|part| part.as_os_str() == "uapi" || part.as_os_str() == "snapshots")
}

fn width(line: &str) -> usize {
    line.chars().fold(0, |column, char| match char {
        '\t' => column + TAB - column % TAB,
        _ => column + 1,
    })
}

#[test]
fn a_tab_is_as_wide_as_it_is_shown() {
    assert_eq!(width("\tif"), 10);
    assert_eq!(width("int x;\t/*"), 10);
}

#[test]
fn what_others_lay_out_is_left_alone() {
    assert!(is_ours(Path::new("examples/c/udp.c")));
    assert!(!is_ours(Path::new("a/include/uapi/linux/bpf.h")));
    assert!(!is_ours(Path::new("a/tests/snapshots/edge.pktmeta.h")));
    assert!(!is_ours(Path::new("a/src/lib.rs")));
}
