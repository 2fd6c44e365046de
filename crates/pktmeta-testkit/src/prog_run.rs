//! Runs one BPF program on one packet, by `BPF_PROG_TEST_RUN`.
//!
//! It takes the descriptor of a loaded program, whoever loaded it.
//!
//! | what runs | by | metadata in | metadata out |
//! |---|---|---|---|
//! | an XDP program on a copy | [`XdpRun`] | yes | yes |
//! | a TC, cgroup_skb, socket filter or LWT program on a copy | [`SkbRun`] | no way | no |
//! | an XDP program on packets that then travel on | [`LiveFrames`] | yes | with the packet |
//!
//! Device indexes are looked up in the network namespace of the calling thread: use
//! [`Netns::run`](crate::netns::Netns::run).
//!
//! Needs `CAP_BPF` and `CAP_NET_ADMIN`.

mod call;
mod input;
mod live;
mod skb;
mod xdp;

pub use input::MAX_METADATA;
pub use live::LiveFrames;
pub use skb::{SkbOutcome, SkbRun};
pub use xdp::{XdpOutcome, XdpRun, XdpVerdict};
