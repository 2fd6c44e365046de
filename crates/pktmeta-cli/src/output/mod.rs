//! All that a command prints. Text of others reaches neither a terminal nor a pipe as it is, see
//! [`printable`]; whoever reads has gone, or the disk is full, is an error like others.

mod table;

pub(crate) use table::{Cell, Table, number};

use pktmeta_core::printable;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    ffi::OsStr,
    fmt,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
};

/// Prints a line to the standard output, formatted as by `println!`.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::output::print(&(format!($($arguments)*) + "\n")) };
}

/// Prints a line to the standard error, as far as that can be: about what the command goes on after.
macro_rules! remark {
    ($($arguments:tt)*) => { $crate::output::complain(&format!("pktmeta: {}\n", format_args!($($arguments)*))) };
}

pub(crate) use {remark, say};

/// Prints text, at once and whole.
pub(crate) fn print(text: &str) -> Result<(), Unwritten> {
    print_as_it_is(&printable::text(text))
}

/// Prints the text of a file, which is a file of ours: escaped it would be another.
pub(crate) fn print_as_it_is(text: &str) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| Unwritten::new("the standard output", error))
}

/// Prints JSON, indented.
pub(crate) fn print_json(json: &Value) -> Result<(), Unwritten> {
    print_as_it_is(&(escape_json(&format!("{json:#}")) + "\n"))
}

/// JSON in one line.
pub(crate) fn json_line(json: &Value) -> String {
    escape_json(&json.to_string()).into_owned()
}

/// Adds a name of others to an object. JSON has no form for one that is not UTF-8: it gets U+FFFD for
/// what is not, and `KEY_hex` has all its bytes.
pub(crate) fn add_name(object: &mut Value, key: &str, name: &(impl AsRef<OsStr> + ?Sized)) {
    let name = name.as_ref();
    object[key] = json!(name.to_string_lossy());
    if name.to_str().is_none() {
        let bytes = name.as_bytes().iter();
        let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        object[format!("{key}_hex")] = json!(hex);
    }
}

/// A name of others, a path for one, in one line.
pub(crate) fn name(name: &(impl AsRef<OsStr> + ?Sized)) -> String {
    printable::name(name.as_ref().as_bytes())
}

/// Says what went wrong, and with which code to exit: if the reader has gone with the one that a shell
/// makes of SIGPIPE, by which other tools end then.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    match complain_of(error) {
        true => ExitCode::FAILURE,
        false => ExitCode::from(128 + libc::SIGPIPE as u8),
    }
}

/// Says what went wrong, unless that is that the reader has gone, of which nobody wants to know.
pub(crate) fn complain_of(error: &anyhow::Error) -> bool {
    let unwritten = error.downcast_ref::<Unwritten>();
    let is_news = unwritten.is_none_or(|it| it.error.kind() != io::ErrorKind::BrokenPipe);
    if is_news {
        complain(&format!("error: {error:#}\n"));
    }
    is_news
}

/// Prints to the standard error. Nothing is left to do if that cannot be written.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(printable::text(text).as_bytes());
}

/// What is printed could not be written. All that the command is for besides, it did.
#[derive(Debug)]
pub(crate) struct Unwritten {
    to: &'static str,
    error: io::Error,
}

impl Unwritten {
    pub(crate) fn new(to: &'static str, error: io::Error) -> Self {
        Self { to, error }
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, error } = self;
        let remedy = "make room there; what the command did besides stays";
        write!(f, "write to {to}: {error}\n  = {remedy}")
    }
}

impl std::error::Error for Unwritten {}

/// Escapes what serde_json leaves and is not printable; outside of strings there is nothing of it.
fn escape_json(json: &str) -> Cow<'_, str> {
    let stays = |c: char| c == '\n' || printable::is_printable(c);
    if json.chars().all(stays) {
        return json.into();
    }
    let mut escaped = String::new();
    for c in json.chars() {
        match stays(c) {
            true => escaped.push(c),
            false => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                escaped.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_printable_and_means_the_same() {
        let text = "a\n\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{e0001} gr\u{fc}n \\";
        let json = json!({ text: [text] });
        for printed in [
            json_line(&json),
            escape_json(&format!("{json:#}")).into_owned(),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), json);
            let stays = |c: char| c == '\n' || printable::is_printable(c);
            assert!(printed.chars().all(stays), "{printed}");
        }
        assert!(
            json_line(&json).contains(r"\udb40\udc01 gr"),
            "{}",
            json_line(&json)
        );
    }

    #[test]
    fn a_name_that_is_not_utf_8_has_its_bytes_in_json() {
        let mut json = json!({});
        add_name(&mut json, "name", OsStr::new("wan"));
        add_name(&mut json, "other", OsStr::from_bytes(b"a\xff"));
        let wanted = json!({ "name": "wan", "other": "a\u{fffd}", "other_hex": "61ff" });
        assert_eq!(json, wanted);
    }
}
