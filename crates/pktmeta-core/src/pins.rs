//! The names under which a datapath pins what others open. `docs/abi.md` lists them too.

use alloc::{format, string::String};

/// The usual mount of bpffs.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The environment variable that names another mount.
pub const BPFFS_VARIABLE: &str = "PKTMETA_BPFFS";

/// The map of the host's fields, below bpffs.
pub const REGISTRY: &str = "pktmeta-registry";
/// The map with the names of enumerations and bits, below bpffs.
pub const NAMES: &str = "pktmeta-names";
/// The map with the secret of seals, below bpffs.
pub const SECRET: &str = "pktmeta-secret";

/// The directory of everything that is attached, below bpffs.
pub const DATAPATH: &str = "pktmeta";
/// The directory of cgroups, below [`DATAPATH`]. A cgroup's own is named by the kernel's number.
pub const CGROUPS: &str = "cgroups";
/// The ring of a cgroup's datagrams, below its directory.
pub const RING: &str = "ring";

/// The path of a cgroup's ring, below bpffs.
#[must_use]
pub fn ring(cgroup: u64) -> String {
    format!("{DATAPATH}/{CGROUPS}/{cgroup}/{RING}")
}
