//! How records are sent: of a socket, and of single datagrams.

mod label;
mod outbound;
mod record;
mod sender;
mod tickets;

pub use label::SendMeta;
pub use sender::{MetaSender, Outgoing};
