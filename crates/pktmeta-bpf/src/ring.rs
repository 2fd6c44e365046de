//! The ring that applications map: its start and its end.

use crate::{
    dir::Dir,
    error::{Context, Error},
    stores,
};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_core::abi;
use std::{
    fs,
    io::{self, Read},
};

/// The features of every datapath. Whether a user may send depends on the user who asks.
const FEATURES: u32 = abi::FEATURE_RX_TCP | abi::FEATURE_RX_UDP | abi::FEATURE_HISTORY;

/// Writes the ring's header and a random start for each CPU's tickets, so that a ticket of one
/// datapath means nothing to the next.
pub(crate) fn start(pins: &Dir, slots: u32, cgroup: u64) -> Result<(), Error> {
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
    let ring = pins.open_map(stores::RING.pin)?;
    ring.update(&slots.to_ne_bytes(), &header, MapFlags::ANY)
        .context(tried)?;
    let issued = pins.open_map(stores::ISSUED.pin)?;
    let cpus = libbpf_rs::num_possible_cpus().context(tried)?;
    let starts: io::Result<Vec<Vec<u8>>> = (0..cpus).map(|_| random().map(Vec::from)).collect();
    issued
        .update_percpu(&0u32.to_ne_bytes(), &starts.context(tried)?, MapFlags::ANY)
        .context(tried)
}

/// Tells applications that have the ring mapped that it will not be written any more.
pub(crate) fn close(pins: &Dir) {
    let close = || {
        let ring = pins.open_map(stores::RING.pin).ok()?;
        let at = slots(pins)?.to_ne_bytes();
        let mut header = ring.lookup(&at, MapFlags::ANY).ok()??;
        *header.get_mut(abi::RING_CLOSED)? = 1;
        ring.update(&at, &header, MapFlags::ANY).ok()
    };
    // A ring that cannot be opened has no reader that could map it either.
    let _ = close();
}

/// True if applications may find records in it.
pub(crate) fn is_open(pins: &Dir) -> Result<bool, Error> {
    let ring = pins.open_map(stores::RING.pin)?;
    let at = ring.max_entries().saturating_sub(1).to_ne_bytes();
    let header = ring.lookup(&at, MapFlags::ANY);
    let header = header.context(|| "read the ring".into())?;
    Ok(header.is_some_and(|header| header.get(abi::RING_CLOSED) == Some(&0)))
}

/// How many slots it has.
pub(crate) fn slots(pins: &Dir) -> Option<u32> {
    pins.open_map(stores::RING.pin)
        .ok()?
        .max_entries()
        .checked_sub(1)
}
