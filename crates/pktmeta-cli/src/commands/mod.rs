//! The commands: a file each, with arguments, help and output.

pub(crate) mod bind;
pub(crate) mod check;
pub(crate) mod decode;
#[cfg(feature = "demo")]
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod encode;
pub(crate) mod exec;
pub(crate) mod r#gen;
pub(crate) mod headers;
pub(crate) mod label;
pub(crate) mod man;
#[cfg(feature = "demo")]
mod own_hosts;
pub(crate) mod registry;
pub(crate) mod sockets;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod watch;
#[cfg(feature = "demo")]
pub(crate) mod r#where;
