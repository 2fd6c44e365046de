//! Labels: values that packets get by their source address.

mod change;
mod label;
mod prefix;
mod table;

pub use change::{Change, Changed, Removal};
pub(crate) use change::{Planned, list};
pub use label::Label;
pub use table::LabelStatus;
pub(crate) use table::{entries, fields_of, read, store};
