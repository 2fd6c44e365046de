//! JSON that goes to the standard output.

use super::text::{Unwritten, print_as_it_is};
use pktmeta_core::printable;
use serde_json::{Value, json};
use std::{borrow::Cow, ffi::OsStr, os::unix::ffi::OsStrExt};

/// Prints JSON, indented.
pub(crate) fn print_json(json: &Value) -> Result<(), Unwritten> {
    print_as_it_is(&(escape_json(&format!("{json:#}")) + "\n"))
}

/// JSON in one line.
pub(crate) fn json_line(json: &Value) -> String {
    escape_json(&json.to_string()).into_owned()
}

/// Adds a name of others to an object. JSON has no form for one that is not UTF-8: it gets U+FFFD
/// for what is not, and `KEY_hex` has all its bytes.
pub(crate) fn add_name(object: &mut Value, key: &str, name: &(impl AsRef<OsStr> + ?Sized)) {
    let name = name.as_ref();
    object[key] = json!(name.to_string_lossy());
    if name.to_str().is_none() {
        let bytes = name.as_bytes().iter();
        let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        object[format!("{key}_hex")] = json!(hex);
    }
}

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
