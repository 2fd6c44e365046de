//! XDP programs on packets that travel on.

use std::os::fd::BorrowedFd;

use super::call::Call;
use super::xdp::XdpInput;
use crate::Result;
use crate::error::Error;

const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

/// Most frames that the kernel takes through the program at once.
const MAX_BATCH: u32 = 256;

/// Above this the length of the frame may be what the kernel calls invalid. The limit is what a
/// page has left beside headroom and bookkeeping, so it depends on the machine.
const LARGE_FRAME: usize = 3 * 1024;

/// Sends packets through an XDP program and lets them go where it says: `XDP_PASS` into the network
/// stack of the device they seem to come from, with their metadata, `XDP_TX` and `XDP_REDIRECT` out
/// of a device. Needs Linux 5.18.
///
/// This is the one way to bring packets with chosen metadata to TC and sockets without a network
/// card. The program need not be attached to the device.
///
/// Each frame counts as a page in the buffer of a socket, so a socket of default size holds about
/// 50 of them and drops the rest: read while frames arrive, or raise `SO_RCVBUF`.
///
/// ```no_run
/// use pktmeta_testkit::{link::TwoHosts, packet::Frame, prog_run::LiveFrames};
/// use std::os::fd::AsFd;
///
/// # fn load() -> std::os::fd::OwnedFd { unimplemented!() }
/// let program = load();
/// let hosts = TwoHosts::new()?;
/// let frame = Frame::new((TwoHosts::CLIENT_V4, 4000).into(), (TwoHosts::SERVER_V4, 53).into())
///     .macs(hosts.client_link().mac(), hosts.server_link().mac())
///     .udp(b"hello");
/// let run = LiveFrames::new(program.as_fd())
///     .packet(&frame)
///     .metadata(&[1, 2, 3, 4])
///     .ingress_ifindex(hosts.server_ifindex())
///     .repeat(40);
/// hosts.server().run(|| run.run())?;
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing runs until run() is called"]
pub struct LiveFrames<'a> {
    program: BorrowedFd<'a>,
    input: XdpInput,
    repeat: u32,
    batch: u32,
}

impl<'a> LiveFrames<'a> {
    /// Prepares a run of a loaded program of type XDP.
    pub fn new(program: BorrowedFd<'a>) -> Self {
        Self {
            program,
            input: XdpInput::default(),
            repeat: 1,
            batch: 0,
        }
    }

    /// The packet, from its Ethernet header on. For sockets to get it, its destination must be
    /// the Ethernet address of the device.
    pub fn packet(mut self, packet: &[u8]) -> Self {
        self.input.packet = packet.to_vec();
        self
    }

    /// The metadata in front of it: at most [`MAX_METADATA`](super::MAX_METADATA) bytes, and a
    /// multiple of 4.
    pub fn metadata(mut self, metadata: &[u8]) -> Self {
        self.input.metadata = metadata.to_vec();
        self
    }

    /// The device the packets come from, in the network namespace of the calling thread. It has to
    /// be set.
    pub fn ingress_ifindex(mut self, index: u32) -> Self {
        self.input.ingress_ifindex = index;
        self
    }

    /// How many packets to send. Each is the packet as given, with the metadata as given.
    pub fn repeat(mut self, times: u32) -> Self {
        self.repeat = times;
        self
    }

    /// How many packets go through the program before they go on together: 1 to 256, 64 by default.
    pub fn batch(mut self, packets: u32) -> Self {
        self.batch = packets;
        self
    }

    /// Sends the packets. Must be called in the network namespace of the device; when it returns
    /// the stack has taken or dropped the packets.
    ///
    /// # Errors
    /// A length, batch or device that the kernel does not take; or a signal came in between, after
    /// which it is unknown how many packets were sent.
    pub fn run(self) -> Result<()> {
        self.execute()
            .map_err(|error| error.context("cannot send live frames through the XDP program"))
    }

    fn execute(self) -> Result<()> {
        let (data_in, context_in) = self.input.encode()?;
        if self.input.ingress_ifindex == 0 {
            return Err(Error::new(
                "live frames need a device to come from: call ingress_ifindex()",
            ));
        }
        if self.batch > MAX_BATCH {
            return Err(Error::new(format!(
                "a batch of {} is too large: at most {MAX_BATCH}",
                self.batch
            )));
        }
        Call {
            program: self.program,
            data_in: &data_in,
            // The kernel refuses the run if it is asked for output: the packets are on their way.
            data_out: &mut [],
            context_in: &context_in,
            context_out: &mut [],
            repeat: self.repeat,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            batch_size: self.batch,
        }
        .run()
        .map(drop)
        .map_err(|error| match data_in.len() {
            len if len > LARGE_FRAME && error.raw_os_error() == Some(libc::EINVAL) => error
                .context(format!(
                    "metadata and packet of {len} bytes may be too long for one page"
                )),
            _ => error,
        })
    }
}
