//! Payloads that say what their records must be, and what became of those.

use crate::lab::TENANT;
use pktmeta::{Error, PacketMeta, Reason, builtin};
use std::{collections::BTreeMap, fmt, ops::AddAssign};

/// What is sent: who sent it, which of that flow's packets it is, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) tenant: u32,
    pub(crate) flow: u32,
    pub(crate) number: u64,
    /// Nanoseconds of the clock that `rx_timestamp` has.
    sent: u64,
}

impl Payload {
    pub(crate) const SIZE: usize = 24;

    /// To be sent now.
    pub(crate) fn new(tenant: u32, flow: u32, number: u64) -> Self {
        Self {
            tenant,
            flow,
            number,
            sent: now(),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.tenant.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.flow.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.sent.to_ne_bytes());
        bytes
    }

    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let bytes: &[u8; Self::SIZE] = bytes.first_chunk().unwrap();
        let u32_at = |at| u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap());
        let u64_at = |at| u64::from_ne_bytes(*bytes[at..].first_chunk().unwrap());
        Self {
            tenant: u32_at(0),
            flow: u32_at(4),
            number: u64_at(8),
            sent: u64_at(16),
        }
    }

    /// The record is of a packet that this flow sent, and that arrived since this was sent.
    fn is_said_by(&self, meta: &PacketMeta) -> bool {
        let arrived = meta.get(builtin::RX_TIMESTAMP);
        meta.get(TENANT) == Some(self.tenant)
            && arrived.is_some_and(|at| (self.sent..=now()).contains(&at.nanoseconds))
    }
}

/// What became of the packets that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) right: u64,
    pub(crate) mismatched: u64,
    pub(crate) overrun: u64,
    /// No record, for the reason that the library gives.
    pub(crate) absent: BTreeMap<&'static str, u64>,
    /// Of the newest record of each flow, the packet's number in the flow and on the interface:
    /// what was sent later arrived later.
    latest: BTreeMap<u32, (u64, u64)>,
}

impl Tally {
    /// Counts a datagram, read in the order of its flow.
    pub(crate) fn count_datagram(&mut self, bytes: &[u8], meta: Result<PacketMeta, Error>) {
        let payload = Payload::parse(bytes);
        let number = meta
            .as_ref()
            .ok()
            .and_then(|meta| meta.get(builtin::PACKET_NUMBER));
        let in_order = number.is_none_or(|number| {
            let this = (payload.number, number);
            let before = self.latest.insert(payload.flow, this);
            before.is_none_or(|before| (before.0 < this.0) == (before.1 < this.1))
        });
        if !in_order {
            println!("mismatched, as of another datagram of its flow: {payload:?}, {meta:?}");
            self.mismatched += 1;
        } else {
            self.count(bytes, meta);
        }
    }

    /// Counts a packet, or a part of a connection.
    pub(crate) fn count(&mut self, bytes: &[u8], meta: Result<PacketMeta, Error>) {
        let payload = Payload::parse(bytes);
        match meta {
            Ok(meta) if meta.is_absent() => self.count_absent("no record"),
            Ok(meta) if payload.is_said_by(&meta) => self.right += 1,
            Ok(meta) => {
                println!("mismatched: {payload:?}, {meta:?}");
                self.mismatched += 1;
            }
            Err(Error::Overrun) => self.overrun += 1,
            Err(Error::Unavailable(Reason::NotEnabled)) => self.count_absent("not enabled"),
            Err(Error::Unavailable(Reason::Closed)) => self.count_absent("closed"),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn count_absent(&mut self, reason: &'static str) {
        *self.absent.entry(reason).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.right + self.mismatched + self.overrun + self.absent.values().sum::<u64>()
    }
}

impl AddAssign for Tally {
    /// Of other flows, or as much as they are told apart.
    fn add_assign(&mut self, other: Self) {
        self.right += other.right;
        self.mismatched += other.mismatched;
        self.overrun += other.overrun;
        for (reason, count) in other.absent {
            *self.absent.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            right,
            mismatched,
            overrun,
            absent,
            ..
        } = self;
        write!(
            f,
            "{right} right, {mismatched} mismatched, {overrun} overrun, absent: {absent:?}"
        )
    }
}

/// Numbers that nobody foresees, and that are the same each time (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` has them.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes a timespec, and knows this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
