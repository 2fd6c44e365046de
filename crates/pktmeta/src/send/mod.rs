//! How records are sent: one for all of a socket, or one for each datagram.

mod label;
mod outbound;
mod record;
mod sender;
mod tickets;

pub use label::SendMeta;
pub use sender::{MetaSender, Outgoing};
