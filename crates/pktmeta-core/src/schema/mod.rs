//! Schema files: the fields of one owner, in TOML. `docs/schema.md` lists the keys.

mod dictionary;
mod entry;
mod error;
mod evolution;
mod field;
mod file;
mod hex;
mod keywords;
mod lint;
mod mistake;
mod names;
mod nearest;
mod size;
mod source;
mod text_error;

pub use dictionary::Dictionary;
pub use entry::{Entry, Known, Meaning};
pub use error::SchemaError;
pub use evolution::{Breaking, Change};
pub use field::SchemaField;
pub use file::{Schema, area};
pub use hex::parse_record;
pub use keywords::Keywords;
pub use lint::{Lint, conflicts, lints};
pub use names::Names;
pub use nearest::nearest;
pub use size::{Saving, Size};
pub use text_error::TextError;
