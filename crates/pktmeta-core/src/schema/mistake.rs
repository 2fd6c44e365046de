//! Mistakes in a schema, before they are shown in its file.

use crate::field::{FieldName, Misspelt};
use std::ops::Range;
use toml::Spanned;

/// A place in the source, the mistake there, and its remedy.
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
