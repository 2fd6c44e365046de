//! What it costs an application to get at a record.

use super::goal::{Goal, Wanted};
use crate::{
    effort::Effort,
    lab::{BURST, Lab, Records, Ring, TENANT, ask, calls, take_turns},
    output::{self, number, spread_cells, table},
    samples::Samples,
    sys,
};
use anyhow::{Context, ensure};
use pktmeta::{Record, TcpMeta, UdpMeta};
use pktmeta_bpf::UpOptions;
use pktmeta_core::abi;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};
use std::{
    hint::black_box,
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

/// What each way to a record costs.
pub(super) struct Reads {
    nanoseconds: [Samples; Way::ALL.len()],
}

/// A way to a record, or what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Ring,
    Ticket,
    Lookup,
    Connection,
    Option,
    MarkInside,
    MarkOutside,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Ring,
        Self::Ticket,
        Self::Lookup,
        Self::Connection,
        Self::Option,
        Self::MarkInside,
        Self::MarkOutside,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::Ring => "udp_mapped_ring",
            Self::Ticket => "udp_getsockopt",
            Self::Lookup => "udp_bpf_lookup",
            Self::Connection => "tcp_packet_meta",
            Self::Option => "tcp_getsockopt",
            Self::MarkInside => "so_mark_with_datapath",
            Self::MarkOutside => "so_mark_without_datapath",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ring => "UDP: mapped ring",
            Self::Ticket => "UDP: getsockopt(ticket)",
            Self::Lookup => "UDP: bpf(2) lookup in the pinned ring",
            Self::Connection => "TCP: latest record with the crate",
            Self::Option => "TCP: getsockopt(latest record)",
            Self::MarkInside => "(getsockopt(SO_MARK), cgroup with the datapath)",
            Self::MarkOutside => "(getsockopt(SO_MARK), cgroup without)",
        }
    }
}

/// Datagrams whose records are read: fewer than the ring has slots for one CPU.
const DATAGRAMS: usize = 1024;
/// What a round spends on each way, of the time that it spends on traffic.
const SHARE: f64 = 0.25;

/// Measures all ways, side by side.
pub(super) fn measure(sandbox: &Sandbox, effort: Effort) -> anyhow::Result<Reads> {
    let lab = Lab::new(sandbox, "labelled")?;
    let _up = lab.up(&UpOptions::PRODUCE)?;
    let udp = lab.udp()?;
    udp.server.enable_packet_meta()?;
    let datagrams = receive_datagrams(&udp)?;
    let tcp = lab.tcp()?;
    let _client = tcp.be_client();
    // One exchange first, so that what is wrong with the setup is said by those who know.
    tcp.exchange(Records::Read)?;
    let (mut client, connection) = tcp.connect()?;
    label_connection(&mut client, &connection)?;
    let setup = Setup {
        socket: udp.server.as_fd(),
        ring: lab.ring()?,
        connection,
        outside: client,
        datagrams,
    };
    let mut reads = Reads {
        nanoseconds: Default::default(),
    };
    let mut ways = Way::ALL;
    for _ in effort.rounds("sockets, reads") {
        let duration = effort.seconds.mul_f64(SHARE);
        let round = take_turns(&mut ways, duration, |way, duration| {
            let measured = setup.measure(*way, duration);
            measured.with_context(|| way.name())
        })?;
        for (samples, nanoseconds) in reads.nanoseconds.iter_mut().zip(round) {
            samples.push(nanoseconds);
        }
    }
    Ok(reads)
}

/// Everything there is to read.
struct Setup<'s> {
    socket: BorrowedFd<'s>,
    ring: Ring,
    /// Its server's end.
    connection: TcpStream,
    /// Its client's end: the cgroup of that has no programs.
    outside: TcpStream,
    datagrams: Vec<Datagram>,
}

struct Datagram {
    control: Vec<u8>,
    ticket: u32,
}

impl Setup<'_> {
    /// Nanoseconds for a read, of each pass over all datagrams; every record has to be there.
    fn measure(&self, way: Way, duration: Duration) -> anyhow::Result<Samples> {
        let mut bytes = [0; 256];
        let mut read = |datagram: &Datagram| match way {
            Way::Ring => {
                let meta = self.socket.control_meta(&datagram.control)?;
                black_box(meta.get(TENANT).context("a record without its label")?);
                Ok(())
            }
            Way::Ticket => {
                black_box(ask(self.socket, datagram.ticket)?);
                Ok(())
            }
            Way::Lookup => {
                black_box(self.ring.record(datagram.ticket)?);
                Ok(())
            }
            Way::Connection => {
                let meta = self.connection.packet_meta()?;
                black_box(meta.get(TENANT).context("a record without its label")?);
                Ok(())
            }
            Way::Option => {
                let (level, option) = (abi::SOL_PKTMETA, abi::PKTMETA_RX);
                let connection = self.connection.as_fd();
                let length = sys::get_option(connection, level, option, &mut bytes)?;
                ensure!(length > Record::HEADER, "a record without fields");
                Ok(())
            }
            Way::MarkInside => ask_mark(self.connection.as_fd()),
            Way::MarkOutside => ask_mark(self.outside.as_fd()),
        };
        calls(duration, || {
            self.datagrams.iter().try_for_each(&mut read)?;
            Ok(self.datagrams.len() as u64)
        })
    }
}

fn ask_mark(socket: BorrowedFd<'_>) -> anyhow::Result<()> {
    let mut mark = [0; 4];
    sys::get_option(socket, libc::SOL_SOCKET, libc::SO_MARK, &mut mark)?;
    black_box(mark);
    Ok(())
}

/// Sends datagrams and receives them with their tickets, whose records stay in the ring.
fn receive_datagrams(udp: &crate::lab::Udp) -> anyhow::Result<Vec<Datagram>> {
    let mut datagrams = Vec::new();
    while datagrams.len() < DATAGRAMS {
        for _ in 0..BURST {
            udp.client.send(b"read me").context("send a datagram")?;
        }
        for _ in 0..BURST {
            let control = sys::receive_control(udp.server.as_fd()).context("receive a datagram")?;
            let ticket = ticket(&control).context("a datagram came without a ticket")?;
            datagrams.push(Datagram { control, ticket });
        }
    }
    Ok(datagrams)
}

/// The ticket in the first control message, a mark or a priority.
fn ticket(control: &[u8]) -> Option<u32> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let ticket = control.get(HEADER..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*ticket))
}

/// Sends something, so that the connection has a latest record.
fn label_connection(client: &mut TcpStream, server: &TcpStream) -> anyhow::Result<()> {
    use std::io::Write;
    client.write_all(b"read me").context("send a request")?;
    let latest = server.packet_meta().context("read the latest record")?;
    ensure!(
        latest.get(TENANT).is_some(),
        "a connection without its label"
    );
    Ok(())
}

impl Reads {
    fn of(&self, way: Way) -> &Samples {
        &self.nanoseconds[way as usize]
    }

    pub(super) fn goals(&self) -> Vec<Goal> {
        let to = |mark| self.of(Way::Option).ratio_to(self.of(mark));
        vec![
            Goal {
                what: "ns of getsockopt(latest record) / (SO_MARK), same cgroup",
                ratio: to(Way::MarkInside),
                wanted: Wanted::AtMost(2.0),
            },
            Goal {
                what: "ns of getsockopt(latest record) / (SO_MARK), cgroup without the datapath",
                ratio: to(Way::MarkOutside),
                wanted: Wanted::AtMost(2.0),
            },
        ]
    }

    pub(super) fn print(&self) {
        let mut rows = table(["way to a record", "ns", "min", "max", "of mapped ring"]);
        for way in Way::ALL {
            let mut cells = vec![way.name().into()];
            cells.extend(spread_cells(self.of(way), 0));
            let ratio = self.of(way).ratio_to(self.of(Way::Ring));
            cells.push(number(ratio.spread().median, 1));
            rows.add_row(cells);
        }
        output::print("Reading: nanoseconds for one record", &rows, &NOTES);
    }

    pub(super) fn to_json(&self) -> Value {
        let ways = Way::ALL.into_iter().map(|way| {
            let ratio = self.of(way).ratio_to(self.of(Way::Ring));
            let json = json!({
                "ns": self.of(way).spread().to_json(),
                "ratio_to_mapped_ring": ratio.spread().to_json(),
            });
            (way.key().to_owned(), json)
        });
        Value::Object(ways.collect())
    }
}

const NOTES: [&str; 2] = [
    "1024 datagrams' records in turn, caches warm; receiving the datagram itself is not counted.",
    "In brackets: what the datapath's cgroup programs cost every other socket option.",
];
