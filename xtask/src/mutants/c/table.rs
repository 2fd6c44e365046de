//! The table of mutants.

use std::fmt;
use std::fs;

use crate::error::{Error, Result};
use crate::tool;

const TABLE: &str = include_str!("../../../mutants/c.txt");

/// All mutants, in the order of the file.
pub(super) struct Table(Vec<Mutant>);

/// One change of one file.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Mutant {
    file: String,
    tests: Vec<String>,
    was: Vec<String>,
    becomes: Vec<String>,
    reason: Option<String>,
}

impl Table {
    /// Reads the table, and finds each mutant's lines once in its file.
    pub(super) fn read() -> Result<Self> {
        let table = Self::parse(TABLE)?;
        for mutant in &table.0 {
            let path = tool::root().join(&mutant.file);
            let source = fs::read_to_string(&path)
                .map_err(|error| Error::new(format!("cannot read {}: {error}", mutant.file)))?;
            mutant.apply(&source)?;
        }
        Ok(table)
    }

    /// `file PATH` and `test ARGUMENTS` hold until the next; then a mutant is lines that begin
    /// with `-`, those with `+` that take their place, and one with `=` if it survives: why.
    fn parse(text: &str) -> Result<Self> {
        let mut mutants: Vec<Mutant> = Vec::new();
        let mut next = Mutant::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (kind, rest) = line.split_at(line.len().min(1));
            let rest = rest.trim();
            match kind {
                "-" => {
                    if !next.becomes.is_empty() {
                        mutants.push(next.clone());
                        next.clear();
                    }
                    next.was.push(rest.to_string());
                }
                "+" => next.becomes.push(rest.to_string()),
                "=" => next.reason = Some(rest.to_string()),
                _ => {
                    if !next.was.is_empty() {
                        mutants.push(next.clone());
                        next.clear();
                    }
                    match line.split_once(' ') {
                        Some(("file", path)) => next.file = path.to_string(),
                        Some(("test", arguments)) => {
                            next.tests = arguments.split(' ').map(ToString::to_string).collect();
                        }
                        _ if line.is_empty() => {}
                        _ => return Err(Error::new(format!("c.txt: what is `{line}`?"))),
                    }
                }
            }
        }
        if !next.was.is_empty() {
            mutants.push(next);
        }
        Ok(Self(mutants))
    }

    pub(super) fn mutants(&self) -> impl Iterator<Item = &Mutant> {
        self.0.iter()
    }
}

impl Mutant {
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The arguments of `cargo test` that choose the tests which have to notice it.
    pub(super) fn tests(&self) -> &[String] {
        &self.tests
    }

    /// Why no test can notice it, if none can.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        self.to_string().contains(text)
    }

    /// The source with this change in it. Indentation does not count where lines are looked for.
    pub(super) fn apply(&self, source: &str) -> Result<String> {
        let lines: Vec<&str> = source.lines().collect();
        let is_here = |window: &[&str]| {
            let pairs = window.iter().zip(&self.was);
            pairs.into_iter().all(|(line, was)| line.trim() == was)
        };
        let mut places = lines
            .windows(self.was.len().max(1))
            .enumerate()
            .filter(|(_, window)| is_here(window))
            .map(|(at, _)| at);
        let (Some(at), None) = (places.next(), places.next()) else {
            return Err(Error::new(format!(
                "xtask/mutants/c.txt: these lines are not in their file exactly once: {self}"
            )));
        };
        let (before, rest) = lines.split_at(at);
        let after = &rest[self.was.len()..];
        let becomes = self.becomes.iter().map(String::as_str);
        let all = before.iter().copied().chain(becomes);
        let mut changed: String = all
            .chain(after.iter().copied())
            .flat_map(|line| [line, "\n"])
            .collect();
        if !source.ends_with('\n') {
            changed.pop();
        }
        Ok(changed)
    }

    /// Forgets the change, and keeps file and tests for the next.
    fn clear(&mut self) {
        self.was.clear();
        self.becomes.clear();
        self.reason = None;
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let becomes = match self.becomes.join(" ") {
            nothing if nothing.is_empty() => "nothing".to_string(),
            lines => format!("`{lines}`"),
        };
        write!(
            f,
            "{}: `{}` becomes {becomes}",
            self.file,
            self.was.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
file a.h
test -p a --test fields
- if (x)
+ if (!x)
- y();
+

file b.h
- z();
- w();
+ w();
= Nobody sees the order.
";

    #[test]
    fn a_mutant_has_the_file_and_the_tests_above_it() {
        let table = Table::parse(TEXT).unwrap();
        let [first, second, third] = table.0.as_slice() else {
            panic!("{:?}", table.0);
        };
        assert_eq!(first.to_string(), "a.h: `if (x)` becomes `if (!x)`");
        assert_eq!(second.to_string(), "a.h: `y();` becomes nothing");
        assert_eq!(third.to_string(), "b.h: `z(); w();` becomes `w();`");
        assert_eq!(third.tests(), ["-p", "a", "--test", "fields"]);
        assert_eq!(third.reason(), Some("Nobody sees the order."));
        assert_eq!(first.reason(), None);
    }

    #[test]
    fn a_change_is_made_where_its_lines_stand_once() {
        let table = Table::parse(TEXT).unwrap();
        assert_eq!(
            table.0[0].apply("{\n\tif (x)\n\t\ty();\n}\n").unwrap(),
            "{\nif (!x)\n\t\ty();\n}\n"
        );
        assert!(table.0[0].apply("if (x)\nif (x)\n").is_err());
        assert!(table.0[0].apply("if (y)\n").is_err());
        assert_eq!(table.0[2].apply("z();\nw();").unwrap(), "w();");
    }

    #[test]
    fn a_line_that_is_nothing_is_refused() {
        let error = Table::parse("fill a.h\n").err().unwrap().to_string();
        assert!(error.contains("fill a.h"), "{error}");
    }

    #[test]
    fn every_mutant_of_the_table_fits_the_code_as_it_is() {
        let table = Table::read().unwrap();
        assert!(table.0.iter().all(|mutant| !mutant.tests.is_empty()));
    }
}
