//! Labels: values that packets get by their source address.

mod label;
mod prefix;
mod table;

pub use label::Label;
pub use table::LabelStatus;
pub(crate) use table::{entries, fields_of, read, store};
