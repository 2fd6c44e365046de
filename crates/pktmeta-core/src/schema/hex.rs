//! Records in hex.

use super::text_error::TextError;
use crate::record::{ParseError, Record};

/// Reads a record from hex digits, two a byte. Blanks and colons may stand between bytes, and `0x`
/// before them. Bytes may follow the record, as in a metadata area: the second result is their
/// number.
///
/// # Errors
/// The text is not hex digits, or the bytes are no record.
pub fn parse_record(text: &str) -> Result<(Record, usize), TextError> {
    let bytes = parse_hex(text)?;
    let record = Record::parse(&bytes).map_err(|error| not_a_record(error, &bytes))?;
    Ok((record, bytes.len() - record.as_bytes().len()))
}

/// Two hex digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(text: &str) -> Result<Vec<u8>, TextError> {
    const WANTED: &str = "write two hex digits for each byte, with blanks or colons between bytes";
    let is_separator = |c: char| c.is_whitespace() || c == ':';
    let mut bytes = Vec::new();
    let mut at = 1;
    for run in text.split_inclusive(is_separator) {
        let digits = run.trim_end_matches(is_separator);
        let start = at + if digits.starts_with("0x") { 2 } else { 0 };
        at += run.chars().count();
        let mut high = None;
        for (position, c) in (start..).zip(digits.strip_prefix("0x").unwrap_or(digits).chars()) {
            let digit = c.to_digit(16).ok_or_else(|| {
                TextError::new(
                    format!("{c:?} at character {position} is no hex digit"),
                    WANTED,
                )
            })? as u8; // < 16
            match high.take() {
                None => high = Some(digit),
                Some(high) => bytes.push(high << 4 | digit),
            }
        }
        if high.is_some() {
            let message =
                format!("{digits:?} at character {start} has an odd number of hex digits");
            return Err(TextError::new(message, WANTED));
        }
    }
    Ok(bytes)
}

fn not_a_record(error: ParseError, bytes: &[u8]) -> TextError {
    let start = hex(&bytes[..bytes.len().min(Record::HEADER)]);
    let said = usize::from(bytes.get(3).copied().unwrap_or_default());
    let remedy = match error {
        ParseError::NotARecord if bytes.len() < Record::HEADER => format!(
            "a record has at least {} bytes, these are {}",
            Record::HEADER,
            bytes.len()
        ),
        ParseError::NotARecord => format!("a record starts with 504d, \"PM\"; these with {start}"),
        ParseError::Version(_) => format!(
            "this build reads version {}; use one that is as new as what made the record",
            Record::MAGIC[2] >> 4
        ),
        ParseError::Length if !(Record::HEADER..=Record::CAPACITY).contains(&said) => {
            let message = format!("the record says that it has {said} bytes");
            let remedy = format!("a record has {} to {}", Record::HEADER, Record::CAPACITY);
            return TextError::new(message, remedy);
        }
        ParseError::Length => format!(
            "it says that it has {said} bytes, these are {}: is the end missing?",
            bytes.len()
        ),
        ParseError::Tlv { at } => {
            let rest = bytes.get(at..said).unwrap_or_default();
            format!(
                "there stand {}, and the record says that it ends at byte {said}",
                hex(&rest[..rest.len().min(2)])
            )
        }
    };
    TextError::new(error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_says_where() {
        for (text, parts) in [
            (
                "",
                ["not a pktmeta record", "at least 4 bytes, these are 0"],
            ),
            ("504d1", ["\"504d1\" at character 1", "odd number"]),
            ("50:4d:10:4", ["\"4\" at character 10", "odd number"]),
            ("0x504", ["at character 3 has an odd", "two hex digits"]),
            ("50 4d zz", ["'z' at character 7", "two hex digits"]),
            ("50é", ["'é' at character 3", "two hex digits"]),
            (
                "51 4d 10 04",
                ["not a pktmeta record", "these with 514d1004"],
            ),
            ("50 4d 20 04", ["version 2", "version 1"]),
            (
                "50 4d 10 09 01",
                ["longer than", "says that it has 9 bytes, these are 5"],
            ),
            (
                "50 4d 10 03",
                ["says that it has 3 bytes", "a record has 4 to 216"],
            ),
            (
                "50 4d 10 07 81 00 00",
                ["at byte 4 runs past", "8100, and the record says"],
            ),
        ] {
            let error = parse_record(text).unwrap_err();
            let error = format!("{error}: {}", error.remedy());
            for part in parts {
                assert!(error.contains(part), "no {part:?} in {error}");
            }
        }
        for (text, behind) in [
            ("504d1004", 0),
            (" 0x50 0x4D\n0x10:04 0000", 2),
            ("0x504d1004 07", 1),
        ] {
            assert_eq!(parse_record(text), Ok((Record::new(), behind)));
        }
    }
}
