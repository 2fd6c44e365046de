//! XDP programs on a copy of a packet.

use std::os::fd::BorrowedFd;

use super::call::Call;
use super::input::{check_metadata, check_packet};
use crate::Result;
use crate::error::Error;

/// By how much a program can make a packet longer, at either end together.
const ROOM_TO_GROW: usize = 4096;

/// The decision of an XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XdpVerdict {
    /// `XDP_ABORTED`: an error in the program; the packet is dropped.
    Aborted,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`: on to the network stack.
    Pass,
    /// `XDP_TX`: back out of the same device.
    Tx,
    /// `XDP_REDIRECT`: to another device, CPU or socket.
    Redirect,
    /// A number that means nothing to the kernel, which then treats it as `XDP_ABORTED`.
    Unknown(u32),
}

impl From<u32> for XdpVerdict {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            other => Self::Unknown(other),
        }
    }
}

/// The result of an [`XdpRun`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpOutcome {
    /// The program's return value.
    pub verdict: XdpVerdict,
    /// The packet as the program left it, from its Ethernet header on.
    pub packet: Vec<u8>,
    /// The metadata in front of the packet as the program left it.
    pub metadata: Vec<u8>,
    /// Time of one repetition in nanoseconds, on average.
    pub duration_ns: u64,
}

/// Runs an XDP program on a copy of a packet. Needs Linux 5.15.
///
/// ```no_run
/// use pktmeta_testkit::{packet, prog_run::{XdpRun, XdpVerdict}};
/// use std::os::fd::AsFd;
///
/// # fn load() -> std::os::fd::OwnedFd { unimplemented!() }
/// let program = load();
/// let (client, server) = ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:53".parse().unwrap());
/// let frame = packet::udp(client, server, b"hello");
/// let outcome = XdpRun::new(program.as_fd()).packet(&frame).metadata(&[1, 2, 3, 4]).run()?;
/// assert_eq!(outcome.verdict, XdpVerdict::Pass);
/// assert_eq!(outcome.metadata, [1, 2, 3, 4]);
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing runs until run() is called"]
pub struct XdpRun<'a> {
    program: BorrowedFd<'a>,
    input: XdpInput,
    repeat: u32,
}

impl<'a> XdpRun<'a> {
    /// Prepares a run of a loaded program of type XDP.
    pub fn new(program: BorrowedFd<'a>) -> Self {
        Self {
            program,
            input: XdpInput::default(),
            repeat: 1,
        }
    }

    /// The packet, from its Ethernet header on.
    pub fn packet(mut self, packet: &[u8]) -> Self {
        self.input.packet = packet.to_vec();
        self
    }

    /// The metadata in front of it, as if an earlier program had written it: at most
    /// [`MAX_METADATA`](super::MAX_METADATA) bytes, and a multiple of 4.
    pub fn metadata(mut self, metadata: &[u8]) -> Self {
        self.input.metadata = metadata.to_vec();
        self
    }

    /// The device the packet seems to come from, in the network namespace of the calling thread.
    pub fn ingress_ifindex(mut self, index: u32) -> Self {
        self.input.ingress_ifindex = index;
        self
    }

    /// The receive queue of that device. Without a device it has to be 0.
    pub fn rx_queue(mut self, queue: u32) -> Self {
        self.input.rx_queue = queue;
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
    /// The packet or metadata have a length that the kernel does not take, or the kernel refuses
    /// the run.
    pub fn run(self) -> Result<XdpOutcome> {
        self.execute()
            .map_err(|error| error.context("cannot run the XDP program on the packet"))
    }

    fn execute(self) -> Result<XdpOutcome> {
        let (data_in, context_in) = self.input.encode()?;
        let mut data_out = vec![0; data_in.len() + ROOM_TO_GROW];
        let mut context_out = CONTEXT_OUT;
        let returned = Call {
            program: self.program,
            data_in: &data_in,
            data_out: &mut data_out,
            context_in: &context_in,
            context_out: &mut context_out,
            repeat: self.repeat,
            flags: 0,
            batch_size: 0,
        }
        .run()?;
        data_out.truncate(returned.data_len);
        // xdp_md.data: the output begins with the metadata.
        let metadata_len = context_out
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize);
        if metadata_len > data_out.len() {
            return Err(Error::new(format!(
                "the kernel says that {metadata_len} of {} bytes are metadata, which cannot be",
                data_out.len()
            )));
        }
        let packet = data_out.split_off(metadata_len);
        Ok(XdpOutcome {
            verdict: returned.retval.into(),
            packet,
            metadata: data_out,
            duration_ns: returned.duration.as_nanos() as u64,
        })
    }
}

/// Room for `struct xdp_md`, also for one that grew.
const CONTEXT_OUT: [u8; 64] = [0; 64];

/// The input of an XDP program.
#[derive(Debug, Clone, Default)]
pub(super) struct XdpInput {
    pub(super) packet: Vec<u8>,
    pub(super) metadata: Vec<u8>,
    pub(super) ingress_ifindex: u32,
    pub(super) rx_queue: u32,
}

impl XdpInput {
    /// The bytes of `data_in` and `ctx_in`: metadata goes in front of the packet, and `data` is its
    /// length.
    pub(super) fn encode(&self) -> Result<(Vec<u8>, [u8; 24])> {
        check_packet(&self.packet)?;
        check_metadata(&self.metadata)?;
        if self.ingress_ifindex == 0 && self.rx_queue != 0 {
            return Err(Error::new(
                "a receive queue needs a device: call ingress_ifindex()",
            ));
        }
        let data = [self.metadata.as_slice(), &self.packet].concat();
        let data_end = u32::try_from(data.len()).map_err(|_| {
            Error::new(format!(
                "a packet of {} bytes is too long",
                self.packet.len()
            ))
        })?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
        let words = [
            self.metadata.len() as u32,
            data_end,
            0,
            self.ingress_ifindex,
            self.rx_queue,
            0,
        ];
        let mut context = [0; 24];
        for (bytes, word) in context.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ok((data, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(packet_len: usize, metadata_len: usize) -> XdpInput {
        XdpInput {
            packet: vec![1; packet_len],
            metadata: vec![2; metadata_len],
            ..XdpInput::default()
        }
    }

    #[test]
    fn lengths_that_the_kernel_refuses_are_refused_with_a_reason() {
        for (packet_len, metadata_len, reason) in [
            (0, 0, "call packet()"),
            (13, 0, "Ethernet"),
            (14, 3, "multiple of 4"),
            (14, 220, "at most 216"),
        ] {
            let error = input(packet_len, metadata_len).encode().unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(
            XdpInput {
                rx_queue: 1,
                ..input(14, 0)
            }
            .encode()
            .is_err()
        );
    }

    #[test]
    fn metadata_goes_in_front_and_its_length_is_where_the_packet_begins() {
        let (data, context) = input(14, 8).encode().unwrap();
        assert_eq!(data, [vec![2; 8], vec![1; 14]].concat());
        assert_eq!(context[..4], 8_u32.to_ne_bytes());
        assert_eq!(context[4..8], 22_u32.to_ne_bytes());
    }
}
