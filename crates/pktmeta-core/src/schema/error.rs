//! Mistakes in schema files.

use std::{fmt, ops::Range};

/// A mistake in a schema file. `{}` says where it is, and shows the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    file: String,
    line: usize,
    column: usize,
    excerpt: Excerpt,
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
        let line = text[line_start..].lines().next().unwrap_or_default();
        let marked = text.get(span).unwrap_or_default().lines().next();
        let column = before[line_start..].chars().count() + 1;
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column,
            excerpt: Excerpt::new(line, column - 1, marked.unwrap_or_default()),
            message: without_middle(message),
            remedy: without_middle(remedy),
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

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            excerpt,
            message,
            ..
        } = self;
        let margin = line.to_string().len();
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {}", excerpt.text)?;
        write!(f, "{:margin$} | {}", "", excerpt.marks())
    }
}

impl std::error::Error for SchemaError {}

/// A part of the line with the mistake: the line may be longer than anybody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Characters before the mistake, and of the mistake.
    before: u8,
    marked: u8,
}

impl Excerpt {
    /// Most characters that are shown before the mistake, and from its start on.
    const BEFORE: usize = 60;
    const FROM: usize = 100;

    /// `at` is how many characters of the line stand before the mistake.
    fn new(line: &str, at: usize, marked: &str) -> Self {
        let skipped = at.saturating_sub(Self::BEFORE);
        let cut = |is: bool| if is { "..." } else { "" };
        let mut rest = line.chars().skip(skipped);
        let shown: String = rest.by_ref().take(at - skipped + Self::FROM).collect();
        let start = cut(skipped > 0);
        Self {
            text: format!("{start}{shown}{}", cut(rest.next().is_some())),
            before: (start.len() + at - skipped) as u8, // <= 3 + BEFORE
            marked: marked.chars().take(Self::FROM).count().max(1) as u8, // <= FROM
        }
    }

    /// Marks below the mistake.
    fn marks(&self) -> String {
        " ".repeat(self.before.into()) + &"^".repeat(self.marked.into())
    }
}

/// Shortens a message that quotes a long text of the schema's author.
fn without_middle(message: String) -> String {
    const END: usize = 150;
    let characters: Vec<char> = message.chars().collect();
    if characters.len() <= 3 * END {
        return message;
    }
    let start: String = characters[..END].iter().collect();
    let end: String = characters[characters.len() - END..].iter().collect();
    format!("{start}...{end}")
}
