//! The limits of a program's input.

use crate::Result;
use crate::error::Error;

/// Most bytes of metadata that the kernel takes: 256 bytes of headroom less its own bookkeeping.
pub const MAX_METADATA: usize = 216;

/// The kernel refuses packets that are shorter than an Ethernet header.
const MIN_PACKET: usize = 14;

pub(super) fn check_packet(packet: &[u8]) -> Result<()> {
    match packet.len() {
        0 => Err(Error::new(
            "there is no packet to run the program on: call packet()",
        )),
        len if len < MIN_PACKET => Err(Error::new(format!(
            "a packet of {len} bytes cannot be run: its Ethernet header alone has {MIN_PACKET} \
             bytes"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn check_metadata(metadata: &[u8]) -> Result<()> {
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
