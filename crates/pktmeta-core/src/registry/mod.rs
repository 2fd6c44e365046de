//! The registry: the TLV type of each name on this host.

mod error;
mod field;
mod giving;
mod layout;
mod policy;
mod reading;
mod table;

pub use error::RegisterError;
pub use field::{FieldInfo, Wanted};
pub use giving::Refusal;
pub use layout::Layout;
pub use policy::{GroMerge, Policy, Writers};
pub use reading::Found;
pub use table::Registry;
