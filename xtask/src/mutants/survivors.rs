//! The list of Rust mutants that survive for a reason: `xtask/mutants/survivors.txt`.
//!
//! A line that is not indented names a mutant as cargo-mutants does, without line and column, which
//! change with every edit. The indented lines below it say why no test can notice it.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

const LIST: &str = include_str!("../../mutants/survivors.txt");

/// The survivors that are explained.
pub(super) struct Survivors(BTreeSet<&'static str>);

impl Survivors {
    pub(super) fn read() -> Result<Self> {
        Self::parse(LIST)
    }

    fn parse(list: &'static str) -> Result<Self> {
        let mut names = BTreeSet::new();
        let mut unexplained = None;
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(char::is_whitespace) {
                unexplained = None;
            } else if !line.is_empty() {
                if let Some(name) = unexplained.replace(line) {
                    return Err(no_reason(name));
                }
                names.insert(line);
            }
        }
        match unexplained {
            Some(name) => Err(no_reason(name)),
            None => Ok(Self(names)),
        }
    }

    /// Whether the list explains this mutant, which cargo-mutants names with line and column.
    pub(super) fn explain(&self, mutant: &str) -> bool {
        self.0.contains(without_position(mutant).as_str())
    }
}

fn no_reason(name: &str) -> Error {
    Error::new(format!(
        "xtask/mutants/survivors.txt does not say why this mutant survives: {name}"
    ))
}

/// `path:12:5: change` without the numbers: `path: change`.
fn without_position(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(line), Some(column), Some(change))
            if is_number(line) && is_number(column) =>
        {
            format!("{path}:{change}")
        }
        _ => mutant.to_string(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_is_known_wherever_its_line_has_moved() {
        let list = Survivors::parse("# why\na.rs: replace f -> bool with true\n    It is.\n");
        let list = list.unwrap();
        assert!(list.explain("a.rs:12:5: replace f -> bool with true"));
        assert!(list.explain("a.rs:9:1: replace f -> bool with true"));
        assert!(!list.explain("a.rs:12:5: replace f -> bool with false"));
        assert!(!list.explain("b.rs:12:5: replace f -> bool with true"));
    }

    #[test]
    fn a_survivor_without_a_reason_is_refused() {
        for list in ["a.rs: x\n", "a.rs: x\nb.rs: y\n    Why.\n"] {
            let error = Survivors::parse(list).err().unwrap().to_string();
            assert!(error.ends_with("a.rs: x"), "{error}");
        }
    }

    #[test]
    fn the_list_in_the_repository_can_be_read() {
        Survivors::read().unwrap();
    }
}
