//! Labels: values that packets get by their source address, `PREFIX=FIELD:VALUE`.

use super::prefix::Prefix;
use crate::error::{Error, ErrorKind};
use std::fmt;

/// A value for packets whose source address is in a prefix.
///
/// ```
/// let label: pktmeta_bpf::labels::Label = "192.0.2.0/24=tenant:7".parse()?;
/// assert_eq!(label.to_string(), "192.0.2.0/24=tenant:7");
/// # Ok::<(), pktmeta_bpf::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub(super) prefix: Prefix,
    pub(super) field: String,
    pub(super) value: String,
}

impl Label {
    /// Reads the labels of a file, one a line; `file` is its name in messages. Empty lines and
    /// lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// A line is no label.
    pub fn parse_file(file: &str, text: &str) -> Result<Vec<Self>, Error> {
        let lines = text.lines().map(str::trim).enumerate();
        let labels = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        labels
            .map(|(at, line)| {
                line.parse()
                    .map_err(|error: Error| error.at(&format!("{file}:{}", at + 1)))
            })
            .collect()
    }
}

impl std::str::FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("label {text:?}"), why)
                .with_remedy("write PREFIX=FIELD:VALUE, such as 192.0.2.0/24=tenant:7")
        };
        let (prefix, rest) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        let (field, value) = rest.split_once(':').ok_or_else(|| wrong("there is no :"))?;
        let prefix = Prefix::parse(prefix).map_err(wrong)?;
        Ok(Self {
            prefix,
            field: field.into(),
            value: value.into(),
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.prefix, self.field, self.value)
    }
}
