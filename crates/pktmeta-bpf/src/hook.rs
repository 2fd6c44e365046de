//! Hooks: everything that a loader must know of one.

use crate::{
    error::{Context, Error},
    settings::Global,
    stores::Store,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_core::registry::Policy;
use std::fmt;

/// A hook: a BPF object, and all that it takes to load, attach, read, explain and remove it. Code
/// that deals with hooks goes through [`crate::hooks::ALL`] and asks these values; nothing else
/// knows of a hook.
#[non_exhaustive]
pub struct Hook {
    /// The name of the hook.
    pub name: &'static str,
    /// The loss to the user without it.
    pub purpose: &'static str,
    /// The thing that it comes up with.
    pub target: Target,
    /// The ELF object.
    pub object: &'static [u8],
    /// The programs in it.
    pub programs: &'static [Program],
    /// The maps of the object that are shared or outlive the loader. Others are the programs' own.
    pub(crate) stores: &'static [Store],
    /// The `const volatile` globals that the loader sets.
    pub(crate) globals: &'static [Global],
    /// The built-in fields that it can produce.
    pub produces: &'static [&'static str],
    /// True if it is left out where it has no field to produce: a program costs each packet
    /// something.
    pub only_to_produce: bool,
    /// The kind of writer that it is. The policy of a field says which writers may set it.
    pub writer: Option<Writer>,
    /// The part of each datagram that it reads; `None` if datagrams do not pass it.
    pub reads: Option<&'static str>,
    /// The map whose only value is the counters, if it counts.
    pub counters_map: Option<&'static str>,
    /// The counters, a `u64` each, in order.
    pub counters: &'static [Counter],
}

impl Hook {
    /// The counter called `name` among the values of all.
    #[must_use]
    pub fn counter(&self, values: &[u64], name: &str) -> Option<u64> {
        let at = self
            .counters
            .iter()
            .position(|counter| counter.name == name)?;
        values.get(at).copied()
    }

    /// Reads the counters, summed over the CPUs.
    pub(crate) fn read_counters(&self, map: &MapHandle) -> Result<Vec<u64>, Error> {
        let tried = || format!("read the counters of {}", self.name);
        let key = 0u32.to_ne_bytes();
        let values = match map.map_type().is_percpu() {
            true => map
                .lookup_percpu(&key, MapFlags::ANY)
                .context(tried)?
                .unwrap_or_default(),
            false => map
                .lookup(&key, MapFlags::ANY)
                .context(tried)?
                .into_iter()
                .collect(),
        };
        let mut sums = vec![0; self.counters.len()];
        for value in values {
            for (sum, count) in sums.iter_mut().zip(value.chunks_exact(8)) {
                *sum += u64::from_ne_bytes(count.try_into().unwrap_or_default());
            }
        }
        Ok(sums)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.name).finish()
    }
}

/// The thing that a hook comes up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An interface whose packets are labelled.
    Interface,
    /// A cgroup whose sockets get records.
    Cgroup,
    /// A command, for as long as it runs.
    Command,
}

/// A program of a hook.
#[derive(Debug)]
#[non_exhaustive]
pub struct Program {
    /// Its C function.
    pub name: &'static str,
    /// Where it attaches.
    pub attach: Attach,
    /// The most instructions that the verifier may look at. A test fails above it, and below a
    /// third of it, so that a change of the cost is seen.
    pub budget: u32,
}

/// Where a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attach {
    /// An interface: packets as they arrive, before there is an skb.
    Xdp,
    /// An interface: packets that arrive.
    TcxIngress,
    /// An interface: packets that leave.
    TcxEgress,
    /// A cgroup: packets on their way into its sockets.
    CgroupIngress,
    /// A cgroup: packets that its sockets send.
    CgroupEgress,
    /// A cgroup: what becomes of its TCP connections.
    CgroupSockOps,
    /// A cgroup: `getsockopt`.
    CgroupGetsockopt,
    /// A cgroup: `setsockopt`.
    CgroupSetsockopt,
    /// Nothing: it runs when it is read.
    Iterator,
}

impl Attach {
    /// The kernel's number of it.
    pub(crate) fn kernel(self) -> libbpf_sys::bpf_attach_type {
        match self {
            Self::Xdp => libbpf_sys::BPF_XDP,
            Self::TcxIngress => libbpf_sys::BPF_TCX_INGRESS,
            Self::TcxEgress => libbpf_sys::BPF_TCX_EGRESS,
            Self::CgroupIngress => libbpf_sys::BPF_CGROUP_INET_INGRESS,
            Self::CgroupEgress => libbpf_sys::BPF_CGROUP_INET_EGRESS,
            Self::CgroupSockOps => libbpf_sys::BPF_CGROUP_SOCK_OPS,
            Self::CgroupGetsockopt => libbpf_sys::BPF_CGROUP_GETSOCKOPT,
            Self::CgroupSetsockopt => libbpf_sys::BPF_CGROUP_SETSOCKOPT,
            Self::Iterator => libbpf_sys::BPF_TRACE_ITER,
        }
    }

    /// The flags of its link; XDP alone has any.
    pub(crate) fn flags(self, in_driver: bool) -> u32 {
        match (self, in_driver) {
            (Self::Xdp, true) => libbpf_sys::XDP_FLAGS_DRV_MODE,
            (Self::Xdp, false) => libbpf_sys::XDP_FLAGS_SKB_MODE,
            _ => 0,
        }
    }
}

/// A kind of writer, as schemas have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writer {
    /// XDP programs.
    Xdp,
    /// TC programs.
    Tc,
    /// Applications.
    App,
}

impl Writer {
    /// True if the policy of a field lets it set the field.
    #[must_use]
    pub fn may_write(self, policy: &Policy) -> bool {
        match self {
            Self::Xdp => policy.writers.xdp,
            Self::Tc => policy.writers.tc,
            Self::App => policy.writers.app,
        }
    }
}

/// One thing that a hook counts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Counter {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// Its meaning; for a loss, with the remedy.
    pub meaning: &'static str,
    /// True if each count is a label that was not set or not delivered.
    pub loss: bool,
}

impl Counter {
    pub(crate) const fn of(name: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            meaning,
            loss: false,
        }
    }

    pub(crate) const fn of_loss(name: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            meaning,
            loss: true,
        }
    }
}

/// Embeds the object of the hook whose folder has this name; ELF wants it aligned.
macro_rules! object {
    ($name:literal) => {{
        #[repr(C, align(16))]
        struct Aligned<T: ?Sized>(T);
        static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
            env!("OUT_DIR"),
            "/",
            $name,
            ".bpf.o"
        )));
        &OBJECT.0
    }};
}
pub(crate) use object;
