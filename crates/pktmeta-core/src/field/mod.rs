//! Fields: the names and types of values.

mod kind;
mod misspelt;
mod name;
mod typed;
mod types;
mod value;

pub use kind::Kind;
pub use misspelt::Misspelt;
pub use name::FieldName;
pub(crate) use name::NameKey;
pub use typed::{Field, FieldType};
pub use types::{MacAddr, Timestamp, VarBytes};
pub use value::Value;
