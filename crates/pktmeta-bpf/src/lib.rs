//! The BPF programs of pktmeta and their loader.
//!
//! [`Datapath`] attaches them to an interface and a cgroup, pins what it made under bpffs so that
//! it outlives the caller, reports on it and removes it. [`doctor`] says what the
//! host lacks.
//! `include/pktmeta/` is the header library for other people's BPF programs; [`Object`] loads them
//! with the numbers that fields have on this host. Build scripts of dependent crates find the
//! headers in `DEP_PKTMETA_INCLUDE`, `DEP_PKTMETA_UAPI` and `DEP_PKTMETA_LIBBPF`, and a clang in
//! `DEP_PKTMETA_CLANG`.
//!
//! Structures that this crate returns may grow, and are `#[non_exhaustive]`; options are structures
//! with a `Default`. An enumeration that is exhaustive says why: the compiler then tells the author
//! of code that shows a finding, say, that there is another.
//!
//! The crate needs kernel 6.6, BTF, `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`; [`doctor`] looks
//! for each detail.

pub mod bind;
mod bpffs;
mod datapath;
mod dir;
pub mod doctor;
mod endpoints;
mod error;
pub mod hook;
pub mod hooks;
pub mod host;
pub mod labels;
mod links;
mod object;
mod pins;
mod registry;
mod ring;
mod secret;
mod settings;
mod skb_access;
pub mod sockets;
mod stores;
#[cfg(test)]
mod structures;
mod sys;
pub mod watch;

pub use datapath::{
    AttachMode, Datapath, Delivery, DeliveryStatus, Down, HookStatus, InterfaceChanged,
    InterfaceLabels, InterfaceStatus, Part, Senders, Status, Up, UpOptions,
};
pub use error::{Error, ErrorKind};
pub use links::Attached;
pub use object::{Object, ObjectOptions};
pub use registry::{HostRegistry, Registered, RegistryState, Removal, Use, User};
pub use sys::{ProgramStats, XdpMode};

/// Counts the run time of every BPF program on the host while it lives; costs each program run two
/// readings of the clock. Kernel 5.8, `CAP_SYS_ADMIN`.
pub use sys::StatsEnabled;
