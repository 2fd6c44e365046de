//! What a page shows of an output, compared with the output.

/// The lines that a page shows.
#[derive(Debug)]
pub(super) struct Shown(Vec<Line>);

#[derive(Debug)]
enum Line {
    /// Any number of lines.
    Any,
    Like(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Letter(char),
    /// Some letters that are no spaces.
    Word,
    /// Anything.
    Any,
}

impl Shown {
    pub(super) fn new(text: &str, varies: &[String]) -> Self {
        let line = |line: &str| match line.trim() {
            "..." => Line::Any,
            line => Line::Like(parts(&squeezed(line), varies)),
        };
        Self(text.lines().map(line).collect())
    }

    /// Columns may be wider or narrower.
    pub(super) fn is(&self, output: &str) -> bool {
        let output: Vec<Vec<char>> = output
            .trim_end()
            .lines()
            .map(|line| squeezed(line).chars().collect())
            .collect();
        lines_match(&self.0, &output)
    }
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parts(line: &str, varies: &[String]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let word = varies.iter().find(|word| rest.starts_with(word.as_str()));
        let (part, length) = match word {
            Some(word) => (Part::Word, word.len()),
            None if rest.starts_with("...") => (Part::Any, 3),
            None => (Part::Letter(letter), letter.len_utf8()),
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

fn lines_match(shown: &[Line], output: &[Vec<char>]) -> bool {
    match shown {
        [] => output.is_empty(),
        [Line::Any, rest @ ..] => (0..=output.len()).any(|skip| lines_match(rest, &output[skip..])),
        [Line::Like(parts), rest @ ..] => output
            .split_first()
            .is_some_and(|(line, output)| parts_match(parts, line) && lines_match(rest, output)),
    }
}

fn parts_match(parts: &[Part], line: &[char]) -> bool {
    match parts {
        [] => line.is_empty(),
        [Part::Letter(letter), rest @ ..] => {
            line.first() == Some(letter) && parts_match(rest, &line[1..])
        }
        [Part::Word, rest @ ..] => {
            let length = line.iter().take_while(|letter| **letter != ' ').count();
            (1..=length).any(|length| parts_match(rest, &line[length..]))
        }
        [Part::Any, rest @ ..] => (0..=line.len()).any(|skip| parts_match(rest, &line[skip..])),
    }
}

#[test]
fn output_is_as_shown_but_for_what_varies() {
    let varies = ["4711".to_owned(), "b".to_owned()];
    let shown = Shown::new("A   B\na 4711  x...\n...\nend", &varies);
    assert!(shown.is("A B\na 12 xyz w\nend\n"));
    assert!(shown.is("A B\na 12 x\nany\nthing\nend\n"));
    assert!(!shown.is("A B\na 1 2 x\nend\n"), "two words");
    assert!(!shown.is("A C\na 12 x\nend\n"), "another letter");
    assert!(!shown.is("A B\na 12 x\nend\nmore\n"), "more lines");
    assert!(!shown.is("A B\na  x\nend\n"), "no word");
    assert!(!shown.is(""));
}
