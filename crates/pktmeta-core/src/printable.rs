//! Escapes text of others, such as names of processes, interfaces and files, for messages that
//! people read: it then cannot break a line, move the cursor, colour, or change the direction of
//! writing.

use alloc::{borrow::Cow, string::String};
use core::fmt::Write;

/// A name in one line, from which the name can be read back. Characters that are not printable are
/// escaped as in Rust (`\n`, `\u{202e}`), a byte that is not UTF-8 as `\xff`, a backslash as `\\`.
///
/// ```
/// # use pktmeta_core::printable;
/// assert_eq!(printable::name("wan 1"), "wan 1");
/// assert_eq!(printable::name(b"a\x1b[31m\n\xff\\"), r"a\u{1b}[31m\n\xff\\");
/// ```
#[must_use]
pub fn name(name: impl AsRef<[u8]>) -> String {
    let mut shown = String::new();
    for chunk in name.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str("\\\\"),
                c => push(&mut shown, c),
            }
        }
        for byte in chunk.invalid() {
            // A string takes all that is written.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Text of several lines: escaped as in [`name`], except line breaks, tabs and backslashes.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    if is_text(text) {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c => push(&mut shown, c),
        }
    }
    shown.into()
}

/// True if [`text`] would not change it.
#[must_use]
pub fn is_text(text: &str) -> bool {
    let stays = |c| matches!(c, '\n' | '\t') || is_printable(c);
    text.chars().all(stays)
}

/// True of a character that shows as itself. An accent, which joins the character before it, does.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // Rust escapes an accent only where it is first in a string, with nothing to join.
    let mut joined = [b'a'; 5];
    let length = c.encode_utf8(&mut joined[1..]).len();
    let joined = str::from_utf8(&joined[..=length]).unwrap_or_default();
    joined.escape_debug().count() == 2
}

fn push(shown: &mut String, c: char) {
    match is_printable(c) {
        true => shown.push(c),
        false => shown.extend(c.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_is_printable_and_escape_the_rest() {
        for (bytes, shown) in [
            (&b"nginx: worker"[..], "nginx: worker"),
            (
                "gr\u{fc}n \u{4e2d} cafe\u{301} \u{1f600}".as_bytes(),
                "gr\u{fc}n \u{4e2d} cafe\u{301} \u{1f600}",
            ),
            (b"it's \"it\"", "it's \"it\""),
            (b"\0\t\r\n\x07\x1b\x7f", r"\0\t\r\n\u{7}\u{1b}\u{7f}"),
            ("\u{9b}31m".as_bytes(), r"\u{9b}31m"),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}".as_bytes(),
                r"\u{202e}\u{2066}\u{200f}\u{61c}",
            ),
            (
                "\u{2028}\u{2029}\u{85}\u{200b}\u{feff}".as_bytes(),
                r"\u{2028}\u{2029}\u{85}\u{200b}\u{feff}",
            ),
            (b"\xff\xc3(\xe2\x82", r"\xff\xc3(\xe2\x82"),
            (b"\\x2d", r"\\x2d"),
        ] {
            assert_eq!(name(bytes), shown);
        }
    }

    #[test]
    fn text_keeps_its_lines_and_nothing_else_that_moves_the_cursor() {
        let plain = "a\n\tb \\ c\n";
        assert_eq!(text(plain), plain);
        assert_eq!(text("a\x1b[2J\r\n\u{202e}"), "a\\u{1b}[2J\\r\n\\u{202e}");
    }
}
