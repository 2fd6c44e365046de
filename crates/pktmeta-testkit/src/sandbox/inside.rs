//! What a process finds in a sandbox.

use std::ffi::CStr;

/// Tells a process inside which cgroup is its sandbox.
pub(super) const SANDBOX_ENV: &str = "PKTMETA_SANDBOX";

/// Where the private BPF file system is mounted.
pub(super) const BPFFS: &CStr = c"/sys/fs/bpf";
