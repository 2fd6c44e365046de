//! The ring that applications map: its start and its end.

use crate::{
    error::{Context, Error},
    pins::open_map,
};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_core::abi;
use std::{
    fs,
    io::{self, Read},
    path::Path,
};

/// What every datapath can do; whether a user may send is found out when he asks.
const FEATURES: u32 = abi::FEATURE_RX_TCP | abi::FEATURE_RX_UDP | abi::FEATURE_HISTORY;

/// Writes the ring's header and a random start for each CPU's tickets: what one datapath issued
/// means nothing to the next.
pub(super) fn start(pins: &Path, slots: u32, cgroup: u64) -> Result<(), Error> {
    let random = || {
        let mut bytes = [0; 4];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let tried = || "start the ring".into();
    let mut header = [0; abi::SLOT_SIZE];
    header[..4].copy_from_slice(&abi::VERSION.to_ne_bytes());
    header[4..8].copy_from_slice(&random().context(tried)?);
    header[8..12].copy_from_slice(&slots.to_ne_bytes());
    header[12..16].copy_from_slice(&FEATURES.to_ne_bytes());
    header[16..24].copy_from_slice(&cgroup.to_ne_bytes());
    let ring = open_map(&pins.join("ring"))?;
    ring.update(&slots.to_ne_bytes(), &header, MapFlags::ANY)
        .context(tried)?;
    let issued = open_map(&pins.join("issued"))?;
    let cpus = libbpf_rs::num_possible_cpus().context(tried)?;
    let starts: io::Result<Vec<Vec<u8>>> = (0..cpus).map(|_| random().map(Vec::from)).collect();
    issued
        .update_percpu(&0u32.to_ne_bytes(), &starts.context(tried)?, MapFlags::ANY)
        .context(tried)
}

/// Tells applications that have the ring mapped that it will not be written any more.
pub(super) fn close(pins: &Path) {
    let close = || {
        let ring = open_map(&pins.join("ring")).ok()?;
        let at = slots(pins)?.to_ne_bytes();
        let mut header = ring.lookup(&at, MapFlags::ANY).ok()??;
        header[abi::RING_CLOSED] = 1;
        ring.update(&at, &header, MapFlags::ANY).ok()
    };
    // A ring that cannot be opened has no reader that could map it either.
    let _ = close();
}

/// How many slots it has.
pub(super) fn slots(pins: &Path) -> Option<u32> {
    open_map(&pins.join("ring"))
        .ok()?
        .max_entries()
        .checked_sub(1)
}
