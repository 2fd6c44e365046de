//! Programs that see a socket buffer.

use std::os::fd::BorrowedFd;

use super::call::Call;
use super::input::check_packet;
use crate::Result;

/// By how much a program can make a packet longer.
const ROOM_TO_GROW: usize = 4096;

/// The result of an [`SkbRun`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkbOutcome {
    /// The program's return value: for TC one of `TC_ACT_*` (-1 is -1 as `u32`), for cgroup_skb 1
    /// to let the packet pass.
    pub retval: u32,
    /// The packet as the program left it. Programs that do not see the Ethernet header (cgroup_skb,
    /// socket filters) give it back zeroed.
    pub packet: Vec<u8>,
    /// `skb->mark` as the program left it.
    pub mark: u32,
    /// `skb->priority` as the program left it.
    pub priority: u32,
    /// `skb->cb` as the program left it.
    pub cb: [u32; 5],
    /// `skb->tstamp` as the program left it, in nanoseconds.
    pub tstamp: u64,
    /// Time of one repetition in nanoseconds, on average.
    pub duration_ns: u64,
}

/// Runs a TC, cgroup_skb, socket filter or LWT program on a copy of a packet. Needs Linux 5.2.
///
/// The kernel gives these programs neither metadata nor a real socket here. To test them with
/// metadata let packets travel: see [`LiveFrames`](super::LiveFrames).
///
/// ```no_run
/// use pktmeta_testkit::{packet, prog_run::SkbRun};
/// use std::os::fd::AsFd;
///
/// # fn load() -> std::os::fd::OwnedFd { unimplemented!() }
/// let program = load();
/// let (client, server) = ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
/// let frame = packet::tcp_syn(client, server);
/// let outcome = SkbRun::new(program.as_fd()).packet(&frame).mark(7).run()?;
/// assert_eq!((outcome.retval, outcome.mark), (0, 7));
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing runs until run() is called"]
pub struct SkbRun<'a> {
    program: BorrowedFd<'a>,
    packet: Vec<u8>,
    context: SkBuff,
    repeat: u32,
}

impl<'a> SkbRun<'a> {
    /// Prepares a run of a loaded program.
    pub fn new(program: BorrowedFd<'a>) -> Self {
        Self {
            program,
            packet: Vec::new(),
            context: SkBuff::default(),
            repeat: 1,
        }
    }

    /// The packet, from its Ethernet header on, whatever part of it the program sees.
    pub fn packet(mut self, packet: &[u8]) -> Self {
        self.packet = packet.to_vec();
        self
    }

    /// Sets `skb->mark`.
    pub fn mark(mut self, mark: u32) -> Self {
        self.context.mark = mark;
        self
    }

    /// Sets `skb->priority`.
    pub fn priority(mut self, priority: u32) -> Self {
        self.context.priority = priority;
        self
    }

    /// Sets `skb->cb`, the words that a chain of programs shares.
    pub fn cb(mut self, words: [u32; 5]) -> Self {
        self.context.cb = words;
        self
    }

    /// Sets `skb->tstamp`, in nanoseconds.
    pub fn tstamp(mut self, nanoseconds: u64) -> Self {
        self.context.tstamp = nanoseconds;
        self
    }

    /// The device the packet is on now, in the network namespace of the calling thread; loopback by
    /// default.
    pub fn ifindex(mut self, index: u32) -> Self {
        self.context.ifindex = index;
        self
    }

    /// The device the packet came in by, which need not exist.
    pub fn ingress_ifindex(mut self, index: u32) -> Self {
        self.context.ingress_ifindex = index;
        self
    }

    /// How the packet is divided when it leaves: number of segments, and bytes of payload in each.
    pub fn gso(mut self, segments: u32, size: u32) -> Self {
        (self.context.gso_segs, self.context.gso_size) = (segments, size);
        self
    }

    /// How often to run it, to measure it. Each repetition gets the packet as the one before left
    /// it.
    pub fn repeat(mut self, times: u32) -> Self {
        self.repeat = times;
        self
    }

    /// Runs the program.
    ///
    /// # Errors
    /// The packet is shorter than an Ethernet header, or the kernel refuses the run.
    pub fn run(self) -> Result<SkbOutcome> {
        self.execute()
            .map_err(|error| error.context("cannot run the skb program on the packet"))
    }

    fn execute(self) -> Result<SkbOutcome> {
        check_packet(&self.packet)?;
        let mut data_out = vec![0; self.packet.len() + ROOM_TO_GROW];
        // More than the struct has today, for a kernel in which it grew.
        let mut context_out = [0; 2 * SkBuff::SIZE];
        let returned = Call {
            program: self.program,
            data_in: &self.packet,
            data_out: &mut data_out,
            context_in: &self.context.encode(),
            context_out: &mut context_out,
            repeat: self.repeat,
            flags: 0,
            batch_size: 0,
        }
        .run()?;
        data_out.truncate(returned.data_len);
        let after = SkBuff::decode(&context_out);
        Ok(SkbOutcome {
            retval: returned.retval,
            packet: data_out,
            mark: after.mark,
            priority: after.priority,
            cb: after.cb,
            tstamp: after.tstamp,
            duration_ns: returned.duration.as_nanos() as u64,
        })
    }
}

/// The fields of `struct __sk_buff` that a run can set or returns; the others have to be zero.
#[derive(Debug, Clone, Default, PartialEq)]
struct SkBuff {
    mark: u32,
    priority: u32,
    ingress_ifindex: u32,
    ifindex: u32,
    cb: [u32; 5],
    tstamp: u64,
    gso_segs: u32,
    gso_size: u32,
}

/// Offsets in `struct __sk_buff`, which is part of the kernel's ABI.
mod offset {
    pub(super) const MARK: usize = 8;
    pub(super) const PRIORITY: usize = 32;
    pub(super) const INGRESS_IFINDEX: usize = 36;
    pub(super) const IFINDEX: usize = 40;
    pub(super) const CB: usize = 48;
    pub(super) const TSTAMP: usize = 152;
    pub(super) const GSO_SEGS: usize = 164;
    pub(super) const GSO_SIZE: usize = 176;
}

impl SkBuff {
    /// Size of the struct up to `hwtstamp`. An older kernel takes the rest if it is zero, which it
    /// is.
    const SIZE: usize = 192;

    fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut put = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        put(offset::MARK, self.mark);
        put(offset::PRIORITY, self.priority);
        put(offset::INGRESS_IFINDEX, self.ingress_ifindex);
        put(offset::IFINDEX, self.ifindex);
        for (n, word) in self.cb.into_iter().enumerate() {
            put(offset::CB + 4 * n, word);
        }
        put(offset::GSO_SEGS, self.gso_segs);
        put(offset::GSO_SIZE, self.gso_size);
        bytes[offset::TSTAMP..offset::TSTAMP + 8].copy_from_slice(&self.tstamp.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8; 2 * Self::SIZE]) -> Self {
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|n| bytes[at + n]));
        Self {
            mark: word(offset::MARK),
            priority: word(offset::PRIORITY),
            ingress_ifindex: word(offset::INGRESS_IFINDEX),
            ifindex: word(offset::IFINDEX),
            cb: std::array::from_fn(|n| word(offset::CB + 4 * n)),
            tstamp: u64::from_ne_bytes(std::array::from_fn(|n| bytes[offset::TSTAMP + n])),
            gso_segs: word(offset::GSO_SEGS),
            gso_size: word(offset::GSO_SIZE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_survives_encoding_and_decoding() {
        let context = SkBuff {
            mark: 1,
            priority: 2,
            ingress_ifindex: 3,
            ifindex: 4,
            cb: [5, 6, 7, 8, 9],
            tstamp: 10 << 40,
            gso_segs: 11,
            gso_size: 12,
        };
        let mut bytes = [0; 2 * SkBuff::SIZE];
        bytes[..SkBuff::SIZE].copy_from_slice(&context.encode());
        assert_eq!(SkBuff::decode(&bytes), context);
    }
}
