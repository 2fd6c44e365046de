//! What is wrong with a schema file.

use std::{fmt, ops::Range};

/// What is wrong with a schema file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    file: String,
    line: usize,
    column: usize,
    excerpt: String,
    marked: usize,
    message: String,
    remedy: String,
}

impl SchemaError {
    pub(super) fn new(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: String,
        remedy: String,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let excerpt = text[line_start..].lines().next().unwrap_or_default();
        let column = before[line_start..].chars().count() + 1;
        let marked = text
            .get(span)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column,
            excerpt: excerpt.into(),
            marked: marked.chars().count().max(1),
            message,
            remedy,
        }
    }

    /// Line of the mistake, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column of the mistake in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            excerpt,
            marked,
            message,
            remedy,
        } = self;
        let margin = line.to_string().len();
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {excerpt}")?;
        writeln!(
            f,
            "{:margin$} | {:indent$}{:^<marked$}",
            "",
            "",
            "",
            indent = column - 1
        )?;
        write!(f, "{:margin$} = {remedy}", "")
    }
}

impl std::error::Error for SchemaError {}
