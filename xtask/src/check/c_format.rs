//! How C code is laid out: `.clang-format` has the rules.

use std::path::{Path, PathBuf};

use super::columns;
use super::installed::{self, Found, Python};
use crate::error::{Error, Result};

/// That of Debian 12 too (clang-format-19). The index has it for every machine.
const CLANG_FORMAT: Python = Python {
    name: "clang-format",
    version: "19.1.7",
};

/// Checks the C files among those that git tracks.
pub(super) fn check(tracked: &[PathBuf]) -> Result<Found> {
    let files = tracked.iter().filter(|path| is_ours(path));
    let files = files.filter_map(|path| path.to_str());
    let arguments: Vec<_> = ["--dry-run", "--Werror"].into_iter().chain(files).collect();
    let hint = |error| {
        Error::new(format!(
            "{error}\n`target/tools/bin/clang-format -i FILE` lays a file out"
        ))
    };
    installed::python(&CLANG_FORMAT, &arguments).map_err(hint)
}

fn is_ours(path: &Path) -> bool {
    let is_c = path
        .extension()
        .is_some_and(|kind| kind == "c" || kind == "h");
    is_c && !columns::is_of_others(path)
}

#[test]
fn what_others_lay_out_is_left_alone() {
    assert!(is_ours(Path::new("examples/c/udp.c")));
    assert!(!is_ours(Path::new("a/include/uapi/linux/bpf.h")));
    assert!(!is_ours(Path::new("a/tests/snapshots/edge.pktmeta.h")));
    assert!(!is_ours(Path::new("a/src/lib.rs")));
}
