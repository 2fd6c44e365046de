//! Datagrams and connections per second, with and without the datapath.

use crate::{
    Effort,
    bpf::Kind,
    lab::{Lab, Records, calls, take_turns},
    output::{self, number, spread_cells, table},
    samples::Samples,
};
use pktmeta::UdpMeta;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};

/// What traffic came to, in each setup.
pub(crate) struct Traffic {
    datagrams: Comparison,
    connections: Comparison,
}

/// Nanoseconds for each of one kind of traffic.
#[derive(Default)]
struct Comparison {
    /// In the order of [`Setup::ALL`].
    nanoseconds: [Samples; Setup::ALL.len()],
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
}

impl Setup {
    const ALL: [Self; 4] = [Self::Bare, Self::EmptyXdp, Self::Ignored, Self::Read];

    fn records(self) -> Records {
        match self {
            Self::Read => Records::Read,
            Self::Bare | Self::EmptyXdp | Self::Ignored => Records::Ignored,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::EmptyXdp => "empty_xdp",
            Self::Ignored => "records_ignored",
            Self::Read => "records_read",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare interface",
            Self::EmptyXdp => "empty XDP program",
            Self::Ignored => "datapath, records ignored",
            Self::Read => "datapath, every record read",
        }
    }
}

/// Measures all setups, side by side.
pub(crate) fn measure(sandbox: &Sandbox, effort: Effort) -> anyhow::Result<Traffic> {
    let bare = Lab::new(sandbox, "bare")?;
    let empty_xdp = Lab::new(sandbox, "empty-xdp")?;
    let _attached = empty_xdp.attach_empty(Kind::XDP)?;
    let labelled = Lab::new(sandbox, "labelled")?;
    let _up = labelled.up()?;
    let lab = |setup| match setup {
        Setup::Bare => &bare,
        Setup::EmptyXdp => &empty_xdp,
        Setup::Ignored | Setup::Read => &labelled,
    };
    let mut udp = Vec::new();
    let mut tcp = Vec::new();
    for setup in Setup::ALL {
        let sockets = lab(setup).udp()?;
        if setup == Setup::Read {
            sockets.server.enable_packet_meta()?;
        }
        udp.push((sockets, setup.records()));
        tcp.push((lab(setup).tcp()?, setup.records()));
    }
    let mut traffic = Traffic {
        datagrams: Comparison::default(),
        connections: Comparison::default(),
    };
    for _ in effort.rounds("traffic") {
        let datagrams = take_turns(&mut udp, effort.seconds, |(udp, records), duration| {
            calls(duration, || udp.exchange(*records))
        })?;
        traffic.datagrams.push(datagrams);
        let connections = take_turns(&mut tcp, effort.seconds, |(tcp, records), duration| {
            let _client = tcp.be_client();
            calls(duration, || tcp.exchange(*records))
        })?;
        traffic.connections.push(connections);
    }
    Ok(traffic)
}

impl Traffic {
    pub(crate) fn print(&self) {
        self.datagrams.print("UDP: datagrams per second");
        self.connections
            .print("TCP: connections per second, with a request and an answer each");
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "udp": self.datagrams.to_json("datagram"),
            "tcp": self.connections.to_json("connection"),
        })
    }
}

impl Comparison {
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
        for setup in Setup::ALL {
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
        let setups = Setup::ALL.into_iter().map(|setup| {
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
    "One CPU is client, network and server: a rate is what that CPU has time for, sending included.",
    "The setups take turns of some milliseconds. Of a round, the median burst or connection counts;",
    "min and max are those of whole rounds. Added ns and ratios are round by round, to the empty",
    "XDP program or the bare interface.",
];
