//! How datagrams are received: one way for one of them, for batches, and for adapters.

mod arrival;
mod batch;
mod datagram;
mod envelope;

pub use arrival::{Arrival, Ecn};
pub(crate) use arrival::{enable as enable_arrival, enable_gro};
pub use batch::{Batch, Datagram, Datagrams};
pub use datagram::Received;
pub(crate) use datagram::{into, one};
