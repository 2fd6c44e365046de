//! Tests and files that the documents name: a claim whose test is gone is no longer held, and a way
//! through files that are gone leads nowhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::tool;

/// Tests have sentences for names. With fewer underscores a word in code font is something else.
const UNDERSCORES: usize = 5;

/// Pages that lead developers through files.
const GUIDES_TO_CODE: [&str; 2] = ["CONTRIBUTING.md", "docs/architecture.md"];

/// Checks the Markdown files among `tracked` against the Rust files among them.
pub(super) fn check(tracked: &[PathBuf]) -> Result {
    let tests: BTreeSet<String> = texts(tracked, "rs")?
        .iter()
        .flat_map(|(_, text)| functions(text))
        .map(ToString::to_string)
        .collect();
    let mut faults = String::new();
    for (path, text) in texts(tracked, "md")? {
        for name in sentences(&text).filter(|name| !tests.contains(*name)) {
            let _ = writeln!(faults, "{}: test `{name}`", path.display());
        }
        if GUIDES_TO_CODE.iter().any(|guide| path.ends_with(guide)) {
            for name in files(&text).filter(|name| !is_there(name, tracked)) {
                let _ = writeln!(faults, "{}: file `{name}`", path.display());
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!("named and not there:\n{faults}")))
    }
}

fn texts(tracked: &[PathBuf], kind: &str) -> Result<Vec<(PathBuf, String)>> {
    let of_kind = |path: &&PathBuf| path.extension().is_some_and(|it| it == kind);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(tool::root().join(path))
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        Ok((path.clone(), text))
    };
    tracked.iter().filter(of_kind).map(read).collect()
}

/// The names of the functions that Rust code defines.
fn functions(code: &str) -> impl Iterator<Item = &str> {
    let after = code.lines().filter_map(|line| line.split_once("fn "));
    after.filter_map(|(_, rest)| rest.split(['(', '<']).next())
}

/// What stands in code font in a page and can be the name of a test only.
fn sentences(page: &str) -> impl Iterator<Item = &str> {
    in_code_font(page).filter(|word| {
        let is_name = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let letters = word.bytes().filter(|letter| *letter != b'_');
        word.matches('_').count() >= UNDERSCORES && letters.into_iter().all(is_name)
    })
}

/// What stands in code font in a page and can be a file or, with a slash at its end, a folder.
/// Capitals stand for a name of the reader's choice.
fn files(page: &str) -> impl Iterator<Item = &str> {
    in_code_font(page).filter(|word| {
        let is_file = |kind| word.ends_with(kind);
        let is_path = [".rs", ".c", ".h", ".toml", ".txt", "/"]
            .into_iter()
            .any(is_file);
        let is_name =
            |letter: u8| letter.is_ascii_lowercase() || b"0123456789_-./".contains(&letter);
        is_path && word.contains('/') && word.bytes().all(is_name)
    })
}

/// True if a tracked path ends with these names, or has the folder.
fn is_there(name: &str, tracked: &[PathBuf]) -> bool {
    let named = Path::new(name);
    tracked.iter().any(|path| match name.ends_with('/') {
        true => path.ancestors().any(|folder| folder.ends_with(named)),
        false => path.ends_with(named),
    })
}

fn in_code_font(page: &str) -> impl Iterator<Item = &str> {
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_tests_are_taken_for_them() {
        let page = "As `a_test_whose_name_is_long` says,\n`bpf_xdp_adjust_meta` of `A_B_C_D_E_F`.";
        let found: Vec<_> = sentences(page).collect();
        assert_eq!(found, ["a_test_whose_name_is_long"]);
    }

    #[test]
    fn a_file_is_known_by_the_end_of_its_path_and_a_folder_by_its_names() {
        let page = "`a/b.rs`, `a/`, `b.rs` and `HOOK/HOOK.bpf.c`, with `c/d.rs`.";
        let found: Vec<_> = files(page).collect();
        assert_eq!(found, ["a/b.rs", "a/", "c/d.rs"]);
        let tracked = [PathBuf::from("crates/x/src/a/b.rs")];
        let there = found.iter().map(|name| is_there(name, &tracked));
        assert_eq!(there.collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn functions_are_found_where_they_are_defined() {
        let code = "    fn one() {\npub fn two<T>(it: T)\n// functions of three()\n";
        let found: Vec<_> = functions(code).collect();
        assert_eq!(found, ["one", "two"]);
    }
}
