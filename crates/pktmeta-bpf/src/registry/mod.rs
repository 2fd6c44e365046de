//! The registry of the host: the numbers of fields, their users, and their removal.

mod host;
pub(crate) mod names;
mod registering;
mod removal;
pub(crate) mod table;
mod users;

pub use host::HostRegistry;
pub use registering::Registered;
pub(crate) use registering::register;
pub use removal::Removal;
pub use table::RegistryState;
pub use users::{Use, User};
pub(crate) use users::{area_of, fields_of};
