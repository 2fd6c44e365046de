//! What is wrong with a schema, before it is shown in its file.

use crate::field::{FieldName, Misspelt};
use std::ops::Range;
use toml::Spanned;

/// Where the source is wrong, what is wrong, and what to write instead.
pub(super) struct Mistake(
    pub(super) Range<usize>,
    pub(super) String,
    pub(super) String,
);

/// The name that a file gives to `what`.
pub(super) fn name(source: &Spanned<String>, what: &str) -> Result<FieldName, Mistake> {
    source.get_ref().parse().map_err(|error: Misspelt| {
        let message = format!("{:?} is not a name for {what}", source.get_ref());
        let remedy = format!("a name is {}", error.wanted());
        Mistake(source.span(), message, remedy)
    })
}
