//! The licence of each file: a source in C says its own, in its first lines; everything else has
//! that of its package, or of the workspace. Whatever is named has its text in LICENSES.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::tool;

/// Where the texts are.
const TEXTS: &str = "LICENSES";

/// Part of a source, which is in a file that says its licence.
const PARTS: [&str; 1] = ["crates/pktmeta-codegen/src/lang/c/helpers.h"];

/// Checks the files among `tracked`.
pub(super) fn check(tracked: &[PathBuf]) -> Result {
    let mut faults = String::new();
    let mut named = BTreeSet::new();
    for path in tracked {
        let is = |kinds: &[&str]| {
            let kind = path.extension().and_then(|kind| kind.to_str());
            kind.is_some_and(|kind| kinds.contains(&kind))
        };
        let is_manifest = path.ends_with("Cargo.toml");
        if !is_manifest && !is(&["c", "h"]) || PARTS.iter().any(|part| path == Path::new(part)) {
            continue;
        }
        let text = fs::read_to_string(tool::root().join(path))
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        let said = if is_manifest {
            of_package(&text)
        } else {
            of_source(&text)
        };
        match said {
            Some(said) => named.extend(licences(said).map(str::to_owned)),
            None => {
                let _ = writeln!(faults, "{}: says no licence", path.display());
            }
        }
    }
    let texts: BTreeSet<String> = tracked
        .iter()
        .filter(|path| path.starts_with(TEXTS))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    for name in named.difference(&texts) {
        let _ = writeln!(faults, "{TEXTS}/{name}.txt: missing, and named by files");
    }
    for name in texts.difference(&named) {
        let _ = writeln!(faults, "{TEXTS}/{name}.txt: named by no file");
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!("licences:\n{faults}")))
    }
}

/// What stands in the first five lines of a source.
fn of_source(text: &str) -> Option<&str> {
    let mut lines = text.lines().take(5);
    let said = lines
        .find_map(|line| line.split_once("SPDX-License-Identifier:"))?
        .1;
    Some(said.trim_end_matches("*/").trim())
}

/// What a manifest says, itself or by that of the workspace.
fn of_package(manifest: &str) -> Option<&str> {
    if manifest.contains("license.workspace = true") {
        return Some("");
    }
    let said = manifest
        .lines()
        .find_map(|line| line.strip_prefix("license = "))?;
    Some(said.trim_matches('"'))
}

/// The names in an expression. SPDX has a new name for the same text: `GPL-2.0-only`.
fn licences(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression
        .split([' ', '(', ')'])
        .filter(|word| !word.is_empty());
    let names = words.filter(|word| !["AND", "OR", "WITH"].contains(word));
    names.map(|name| name.strip_suffix("-only").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_says_its_licence_in_its_first_lines() {
        let said = of_source("/* SPDX-License-Identifier: GPL-2.0 OR MIT */\nint one;\n");
        assert_eq!(said, Some("GPL-2.0 OR MIT"));
        let late = "\n\n\n\n\n// SPDX-License-Identifier: MIT\n";
        assert_eq!(of_source(late), None);
    }

    #[test]
    fn a_manifest_says_it_or_leaves_it_to_the_workspace() {
        assert_eq!(
            of_package("[package]\nlicense.workspace = true\n"),
            Some("")
        );
        assert_eq!(of_package("[package]\nlicense = \"MIT\"\n"), Some("MIT"));
        assert_eq!(of_package("[package]\nname = \"none\"\n"), None);
    }

    #[test]
    fn every_name_of_an_expression_is_one() {
        let names: Vec<_> = licences("(MIT OR GPL-2.0-only) AND (GPL-2.0 WITH Note)").collect();
        assert_eq!(names, ["MIT", "GPL-2.0", "GPL-2.0", "Note"]);
    }
}
