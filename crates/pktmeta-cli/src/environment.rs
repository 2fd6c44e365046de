//! Variables of the environment that the command reads.

/// Names the mount of bpffs.
pub(crate) const BPFFS: &str = "PKTMETA_BPFFS";
