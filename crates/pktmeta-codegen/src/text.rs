//! Documentation of a schema, as comments and in Markdown.

use crate::{file::MARK, language::Language};
use pktmeta_core::FieldName;

/// Two lines for the top of a file: its content, and the command that makes it again.
pub(crate) fn provenance(language: Language, owners: &[FieldName]) -> [String; 2] {
    let language = language.name();
    let schemas = match owners {
        [owner] => format!("the schema of {owner}"),
        _ => {
            let owners: Vec<_> = owners.iter().map(FieldName::as_str).collect();
            format!("the schemas of {}", owners.join(", "))
        }
    };
    [
        format!("{MARK} {language}` from {schemas}. Do not edit:"),
        format!("change the schema and run `pktmeta gen {language} SCHEMA... -o DIR` again."),
    ]
}

/// The same for a file that does not depend on schemas.
pub(crate) fn provenance_of_all(language: Language) -> [String; 2] {
    let language = language.name();
    [
        format!("{MARK} {language}`, the same from all schemas. Do not edit:"),
        format!("run `pktmeta gen {language} SCHEMA... -o DIR` again."),
    ]
}

/// A number of the ABI: options that a field's number is added to, and bits, in hexadecimal.
pub(crate) fn number(value: i64) -> String {
    match value {
        0x100.. => format!("{value:#x}"),
        _ => value.to_string(),
    }
}

/// The lines of a schema's `doc`, without characters that would affect the source around it:
/// control characters, and those that change the direction of text.
pub(crate) fn lines(doc: &str) -> Vec<String> {
    let unprintable = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let printable = |line: &str| -> String {
        let line = line.replace('\t', " ");
        line.chars().filter(|&c| !unprintable(c)).collect()
    };
    let mut lines: Vec<String> = doc
        .lines()
        .map(|line| printable(line).trim().to_owned())
        .skip_while(String::is_empty)
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Each line behind a prefix; nothing but the prefix on empty ones.
pub(crate) fn prefixed(prefix: &str, lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("{}\n", format!("{prefix} {line}").trim_end()))
        .collect()
}

/// A line of plain text as Markdown that shows it unchanged.
pub(crate) fn markdown(line: &str) -> String {
    let mut escaped = String::new();
    let mut before = None;
    let mut rest = line.chars().peekable();
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        let special = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' => true,
            // Names such as rx_queue are fine as they are.
            '_' => !(word(before) && word(next)),
            // Not a link.
            ':' => next == Some('/'),
            // These would turn the line into a heading or an item of a list.
            '#' | '-' | '+' | '=' => before.is_none(),
            '.' | ')' => !escaped.is_empty() && escaped.bytes().all(|b| b.is_ascii_digit()),
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
        before = Some(c);
    }
    escaped
}

/// Lines of plain text as Markdown.
pub(crate) fn markdown_lines(doc: &str) -> Vec<String> {
    lines(doc).iter().map(|line| markdown(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_shows_what_was_typed() {
        for (plain, escaped) in [
            ("the rx_queue of skb->hash", r"the rx_queue of skb-\>hash"),
            ("# not a *heading*", r"\# not a \*heading\*"),
            ("- no item", r"\- no item"),
            ("1. no item, 1.5", r"1\. no item, 1.5"),
            ("[a](b) <i> `c` a|b _d_", r"\[a\](b) \<i\> \`c\` a\|b \_d\_"),
            ("https://example.org", r"https\://example.org"),
        ] {
            assert_eq!(markdown(plain), escaped);
        }
    }

    #[test]
    fn documentation_has_no_character_that_acts() {
        let doc = "\n  one\u{202e}\u{7}\r\n\n\ttwo\u{2066}\u{2028}  \n\n";
        assert_eq!(lines(doc), ["one", "", "two"]);
    }
}
