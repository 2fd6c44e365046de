//! Traffic from real sockets, with a known end.
//!
//! A generator sends what a closure writes, as much as it was told to and not faster, and fails
//! rather than wait for ever. It runs in the network namespace of the calling thread: use
//! [`Netns::run`](crate::netns::Netns::run) or [`Netns::enter`](crate::netns::Netns::enter).

mod tcp;
mod udp;

pub use tcp::{TcpClient, TcpReport};
pub use udp::{UdpReport, UdpSender};
