//! The host's capabilities, BTF, bpffs and cgroup v2.

mod capabilities;
mod cgroups;
mod directory;
mod found;
mod mounts;
mod network;

pub use capabilities::{check_btf, check_capabilities};
pub(crate) use cgroups::{Cgroups, cgroup_id};
pub use cgroups::{cgroup_of, cgroup_root, open_cgroup};
pub use found::Found;
pub use mounts::is_bpffs;
pub(crate) use mounts::{BPF_FS_MAGIC, check_mounts_last};
pub(crate) use network::{in_network_namespaces, network_namespace};
pub use pktmeta_core::pins::BPFFS;
