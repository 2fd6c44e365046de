//! Datagrams and connections per second, with and without the datapath.

use super::{
    goal::{Goal, Wanted},
    observe::Observer,
};
use crate::{
    bpf::{self, Kind},
    effort::Effort,
    lab::{Lab, Records, calls, take_turns},
    output::{self, number, spread_cells, table},
    samples::Samples,
};
use anyhow::Context;
use pktmeta::{UdpMeta, builtin};
use pktmeta_bpf::UpOptions;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};

/// What traffic came to, in each setup.
pub(super) struct Rates {
    datagrams: Comparison,
    connections: Comparison,
    /// Nanoseconds that a datagram takes the client, up to the server's interface.
    sending: Samples,
    /// Nanoseconds of a datagram that are the receiving application's, by setup.
    receiving: Vec<Samples>,
    /// System calls of the receiving application for a datagram, by setup.
    system_calls: Vec<f64>,
}

/// Nanoseconds for each of one kind of traffic.
struct Comparison {
    setups: &'static [Setup],
    /// In the order of `setups`.
    nanoseconds: Vec<Samples>,
}

/// What stands between driver and application.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Setup {
    /// Nothing.
    Bare,
    /// An XDP program that does nothing: with any, a veth device works in another way.
    EmptyXdp,
    /// The datapath, of which the application does not know.
    Ignored,
    /// The datapath, and an application that reads every record.
    Read,
    /// As `Read`, with all built-in fields.
    ReadAll,
    /// As `Read`, with a `getsockopt` for each record.
    Asked,
    /// As `Read`, with a `bpf(2)` for each record.
    LookedUp,
}

impl Setup {
    const UDP: [Self; 7] = [
        Self::Bare,
        Self::EmptyXdp,
        Self::Ignored,
        Self::Read,
        Self::ReadAll,
        Self::Asked,
        Self::LookedUp,
    ];
    const TCP: [Self; 5] = [
        Self::Bare,
        Self::EmptyXdp,
        Self::Ignored,
        Self::Read,
        Self::ReadAll,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::EmptyXdp => "empty_xdp",
            Self::Ignored => "records_ignored",
            Self::Read => "records_read",
            Self::ReadAll => "records_read_all_fields",
            Self::Asked => "records_by_getsockopt",
            Self::LookedUp => "records_by_bpf",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare interface",
            Self::EmptyXdp => "empty XDP program",
            Self::Ignored => "datapath, records ignored",
            Self::Read => "datapath, every record read",
            Self::ReadAll => "... with all built-in fields",
            Self::Asked => "datapath, a getsockopt each",
            Self::LookedUp => "datapath, a bpf(2) lookup each",
        }
    }
}

/// Measures all setups, side by side.
pub(super) fn measure(
    sandbox: &Sandbox,
    observer: &Observer,
    effort: Effort,
) -> anyhow::Result<Rates> {
    let bare = Lab::new(sandbox, "bare")?;
    let empty_xdp = Lab::new(sandbox, "empty-xdp")?;
    let _empty = empty_xdp.attach_empty(Kind::XDP)?;
    let dropping = Lab::new(sandbox, "dropping")?;
    let _dropping = dropping.attach(bpf::drop_all()?, Kind::XDP)?;
    let labelled = Lab::new(sandbox, "labelled")?;
    let _up = labelled.up(&UpOptions::PRODUCE)?;
    // Of the same cgroup: an application has one datapath.
    let full = Lab::new(sandbox, "labelled")?;
    let _full = full.up(&builtin::NAMES)?;
    let ring = labelled.ring()?;
    let place = |setup| match setup {
        Setup::Bare => (&bare, Records::Ignored),
        Setup::EmptyXdp => (&empty_xdp, Records::Ignored),
        Setup::Ignored => (&labelled, Records::Ignored),
        Setup::Read => (&labelled, Records::Read),
        Setup::ReadAll => (&full, Records::Read),
        Setup::Asked => (&labelled, Records::Asked),
        Setup::LookedUp => (&labelled, Records::LookedUp(&ring)),
    };
    let mut udp = Vec::new();
    for setup in Setup::UDP {
        let (lab, records) = place(setup);
        let sockets = lab.udp()?;
        if !matches!(records, Records::Ignored) {
            sockets.server.enable_packet_meta()?;
        }
        udp.push((sockets, Some(records)));
    }
    let mut tcp = Vec::new();
    for setup in Setup::TCP {
        let (lab, records) = place(setup);
        tcp.push((lab.tcp()?, records));
    }
    let system_calls = udp.iter_mut().map(|(udp, records)| {
        let Some(records) = *records else {
            return Ok(0.0);
        };
        udp.send()?;
        let (calls, count) = observer.system_calls(|| udp.receive(records))?;
        Ok(calls as f64 / count as f64)
    });
    let mut rates = Rates {
        datagrams: Comparison::new(&Setup::UDP),
        connections: Comparison::new(&Setup::TCP),
        sending: Samples::default(),
        receiving: vec![Samples::default(); Setup::UDP.len()],
        system_calls: system_calls.collect::<anyhow::Result<_>>()?,
    };
    udp.push((dropping.udp()?, None));
    for _ in effort.rounds("sockets, rates") {
        let mut datagrams = take_turns(&mut udp, effort.seconds, |(udp, records), duration| {
            calls(duration, || match *records {
                Some(records) => udp.exchange(records),
                None => Ok(udp.send()? as u64),
            })
        })?;
        rates.sending.push(datagrams.pop().context("no turns")?);
        rates.datagrams.push(datagrams);
        for (samples, (udp, _)) in rates.receiving.iter_mut().zip(&mut udp) {
            samples.push(udp.take_receiving());
        }
        let connections = take_turns(&mut tcp, effort.seconds, |(tcp, records), duration| {
            let _client = tcp.be_client();
            calls(duration, || tcp.exchange(*records))
        })?;
        rates.connections.push(connections);
    }
    Ok(rates)
}

impl Rates {
    pub(super) fn goals(&self) -> Vec<Goal> {
        let lookup = self.receiving(Setup::LookedUp);
        vec![
            Goal {
                what: "UDP per second, every record read / empty XDP program",
                ratio: self.datagrams.ratio(Setup::Read, Setup::EmptyXdp),
                wanted: Wanted::AtLeast(0.9),
            },
            Goal {
                what: "UDP per second of the receiver alone, read / looked up by bpf(2)",
                ratio: lookup.ratio_to(self.receiving(Setup::Read)),
                wanted: Wanted::AtLeast(3.0),
            },
            Goal {
                what: "TCP per second, datapath / empty XDP program",
                ratio: self.connections.ratio(Setup::Ignored, Setup::EmptyXdp),
                wanted: Wanted::AtLeast(0.95),
            },
        ]
    }

    pub(super) fn print(&self) {
        self.datagrams.print("UDP: datagrams per second");
        self.print_receiving();
        self.connections
            .print("TCP: connections per second, with a request and an answer each");
    }

    fn print_receiving(&self) {
        let mut rows = table([
            "",
            "server ns",
            "of empty xdp",
            "receiver ns",
            "per second",
            "of bpf(2)",
            "min",
            "max",
            "system calls",
        ]);
        for (at, setup) in Setup::UDP.into_iter().enumerate() {
            let server = self.server(setup);
            let of_empty = self.server(Setup::EmptyXdp).ratio_to(&server);
            let receiving = self.receiving(setup);
            let rate = receiving.map(|nanoseconds| 1e9 / nanoseconds);
            let mut cells = vec![setup.name().into()];
            cells.push(number(server.spread().median, 0));
            cells.push(number(of_empty.spread().median, 3));
            cells.push(number(receiving.spread().median, 0));
            cells.push(number(rate.spread().median, 0));
            let of_lookup = self.receiving(Setup::LookedUp).ratio_to(receiving);
            cells.extend(spread_cells(&of_lookup, 2));
            cells.push(number(self.system_calls[at], 3));
            rows.add_row(cells);
        }
        output::print("UDP: without the client", &rows, &RECEIVING_NOTES);
    }

    pub(super) fn to_json(&self) -> Value {
        let mut udp = self.datagrams.to_json("datagram");
        for (at, setup) in Setup::UDP.into_iter().enumerate() {
            let json = &mut udp[setup.key()];
            json["server_ns"] = self.server(setup).spread().to_json();
            json["receiver_ns"] = self.receiving(setup).spread().to_json();
            json["receiver_system_calls"] = self.system_calls[at].into();
        }
        udp["client_ns"] = self.sending.spread().to_json();
        json!({ "udp": udp, "tcp": self.connections.to_json("connection") })
    }

    /// Nanoseconds of a datagram that are not the client's.
    fn server(&self, setup: Setup) -> Samples {
        self.datagrams.of(setup).minus(&self.sending)
    }

    /// Nanoseconds of a datagram that are the receiving application's.
    fn receiving(&self, setup: Setup) -> &Samples {
        &self.receiving[setup as usize]
    }
}

impl Comparison {
    fn new(setups: &'static [Setup]) -> Self {
        Self {
            setups,
            nanoseconds: vec![Samples::default(); setups.len()],
        }
    }

    /// Adds a round.
    fn push(&mut self, nanoseconds: Vec<f64>) {
        for (samples, nanoseconds) in self.nanoseconds.iter_mut().zip(nanoseconds) {
            samples.push(nanoseconds);
        }
    }

    fn of(&self, setup: Setup) -> &Samples {
        &self.nanoseconds[setup as usize]
    }

    fn rate(&self, setup: Setup) -> Samples {
        self.of(setup).map(|nanoseconds| 1e9 / nanoseconds)
    }

    fn ratio(&self, setup: Setup, base: Setup) -> Samples {
        self.rate(setup).ratio_to(&self.rate(base))
    }

    fn print(&self, title: &str) {
        let mut rows = table([
            "",
            "per second",
            "min",
            "max",
            "ns each",
            "added ns",
            "of empty xdp",
            "min",
            "max",
            "of bare",
        ]);
        for &setup in self.setups {
            let mut cells = vec![setup.name().into()];
            cells.extend(spread_cells(&self.rate(setup), 0));
            cells.push(number(self.of(setup).spread().median, 0));
            let added = self.of(setup).minus(self.of(Setup::EmptyXdp));
            cells.push(number(added.spread().median, 0));
            cells.extend(spread_cells(&self.ratio(setup, Setup::EmptyXdp), 3));
            let of_bare = self.ratio(setup, Setup::Bare).spread().median;
            cells.push(number(of_bare, 3));
            rows.add_row(cells);
        }
        output::print(title, &rows, &NOTES);
    }

    fn to_json(&self, unit: &str) -> Value {
        let setups = self.setups.iter().map(|&setup| {
            let added = self.of(setup).minus(self.of(Setup::EmptyXdp));
            let json = json!({
                "per_second": self.rate(setup).spread().to_json(),
                "ns_each": self.of(setup).spread().to_json(),
                "added_ns": added.spread().to_json(),
                "ratio_to_empty_xdp": self.ratio(setup, Setup::EmptyXdp).spread().to_json(),
                "ratio_to_bare": self.ratio(setup, Setup::Bare).spread().to_json(),
            });
            (setup.key().to_owned(), json)
        });
        let mut json: serde_json::Map<_, _> = setups.collect();
        json.insert("unit".into(), unit.into());
        Value::Object(json)
    }
}

const NOTES: [&str; 4] = [
    "One CPU is client, network and server: a rate is what that CPU has time for, sending \
     included.",
    "The setups take turns of some milliseconds. Of a round, the median burst or connection \
     counts;",
    "min and max are those of whole rounds. Added ns and ratios are round by round, to the empty",
    "XDP program or the bare interface.",
];

const RECEIVING_NOTES: [&str; 4] = [
    "Server: without what the same sender takes for datagrams that XDP drops; what a server loses",
    "whose client is elsewhere. Receiver: recvmmsg and reading records alone, of datagrams that \
     wait",
    "in the queue, and how many times as fast as with bpf(2) that is. System calls: of the \
     receiver,",
    "for a datagram.",
];
