//! The hooks: a folder each, with its BPF program and what its loader must know of it.

pub mod cgroup_skb_ingress;
pub mod getsockopt;
pub mod setsockopt;
pub mod sockops;
pub mod tc_ingress;
pub mod xdp;

use crate::error::{Context, Error};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::fmt;

/// A hook: one BPF object, its programs, and what it counts.
pub struct Hook {
    /// What the hook is called.
    pub name: &'static str,
    /// The ELF object.
    pub object: &'static [u8],
    /// The programs in it.
    pub programs: &'static [Program],
    /// The map whose only value is the counters.
    pub counters_map: &'static str,
    /// The counters, a `u64` each, in order.
    pub counters: &'static [Counter],
    /// What the user loses without it.
    pub purpose: &'static str,
}

impl Hook {
    /// Reads the counters, summed over the CPUs.
    pub(crate) fn read_counters(&self, map: &MapHandle) -> Result<Vec<u64>, Error> {
        let tried = || format!("read {}", self.counters_map);
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

/// A program of a hook.
#[derive(Debug)]
pub struct Program {
    /// Its C function.
    pub name: &'static str,
    /// Where it attaches: a `BPF_*` attach type.
    pub attach_type: libbpf_sys::bpf_attach_type,
}

/// One thing that a hook counts.
#[derive(Debug)]
pub struct Counter {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// What is counted, and for a loss what to do about it.
    pub meaning: &'static str,
    /// True if each count is a label that was not set or not delivered.
    pub loss: bool,
}

/// The hooks of an interface, in the order in which a packet meets them.
pub const INTERFACE: [&Hook; 2] = [&xdp::HOOK, &tc_ingress::HOOK];

/// The hooks of a cgroup, in the order in which a packet meets them.
pub const CGROUP: [&Hook; 4] = [
    &cgroup_skb_ingress::HOOK,
    &sockops::HOOK,
    &getsockopt::HOOK,
    &setsockopt::HOOK,
];

pub(crate) const fn count(name: &'static str, meaning: &'static str) -> Counter {
    Counter {
        name,
        meaning,
        loss: false,
    }
}

pub(crate) const fn loss(name: &'static str, meaning: &'static str) -> Counter {
    Counter {
        name,
        meaning,
        loss: true,
    }
}

/// Embeds an object of the build; ELF wants it aligned.
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
