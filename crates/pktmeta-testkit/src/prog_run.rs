//! Runs one BPF program on one packet, by `BPF_PROG_TEST_RUN`.
//!
//! It takes the descriptor of a loaded program, whoever loaded it.
//!
//! | what runs | by | metadata in | metadata out |
//! |---|---|---|---|
//! | an XDP program on a copy | [`XdpRun`] | yes | yes |
//! | a TC, cgroup_skb, socket filter or LWT program on a copy | [`SkbRun`] | no: the kernel has no way | no |
//! | an XDP program on packets that then travel on | [`LiveFrames`] | yes | with the packet, to TC and beyond |
//!
//! Device indexes are looked up in the network namespace of the calling thread: use
//! [`Netns::run`](crate::netns::Netns::run).
//!
//! Needs `CAP_BPF` and `CAP_NET_ADMIN`.

mod call;
mod live;
mod skb;
mod xdp;

pub use live::LiveFrames;
pub use skb::{SkbOutcome, SkbRun};
pub use xdp::{XdpOutcome, XdpRun, XdpVerdict};

use crate::Result;
use crate::error::Error;

/// Most bytes of metadata that the kernel takes: what is left of 256 bytes of headroom beside its
/// own bookkeeping.
pub const MAX_METADATA: usize = 216;

/// The kernel refuses what is shorter than an Ethernet header.
const MIN_PACKET: usize = 14;

fn check_packet(packet: &[u8]) -> Result<()> {
    match packet.len() {
        0 => Err(Error::new(
            "there is no packet to run the program on: call packet()",
        )),
        len if len < MIN_PACKET => Err(Error::new(format!(
            "a packet of {len} bytes cannot be run: its Ethernet header alone has {MIN_PACKET} bytes"
        ))),
        _ => Ok(()),
    }
}

fn check_metadata(metadata: &[u8]) -> Result<()> {
    match metadata.len() {
        len if len > MAX_METADATA => Err(Error::new(format!(
            "metadata of {len} bytes is too long: the kernel takes at most {MAX_METADATA}"
        ))),
        len if len % 4 != 0 => Err(Error::new(format!(
            "metadata of {len} bytes is refused: the length must be a multiple of 4, so fill it up"
        ))),
        _ => Ok(()),
    }
}
