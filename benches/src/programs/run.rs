//! Programs that `BPF_PROG_TEST_RUN` can run: XDP with metadata, TC without.

use super::row::{Method, Row};
use crate::{
    bpf::{self, Kind, RAW_STRUCT_SIZE, WithoutMetadata},
    effort::Effort,
    lab::{PAYLOAD, SCHEMA, TENANT, take_turns},
    samples::Samples,
};
use anyhow::{Context, ensure};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta::{FieldInfo, Registry, builtin};
use pktmeta_bpf::{
    Object, ObjectOptions,
    hooks::{tc_ingress, xdp},
};
use pktmeta_core::{FieldName, schema::Schema, seal::Secret};
use pktmeta_testkit::{
    packet,
    prog_run::{SkbRun, XdpRun, XdpVerdict},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The case of a record with the XDP program's own fields.
pub(super) const RECORD: &str = "creates: 4 fields";
/// The case of what people write without pktmeta.
pub(super) const RAW_STRUCT: &str = "(raw struct of the same 4 values)";

/// Repetitions in one run; the kernel reports their mean.
const REPEAT: u32 = 20_000;

/// Measures the XDP program in several situations, and the TC program in the only one that the
/// kernel offers.
pub(super) fn measure(effort: Effort) -> anyhow::Result<Vec<Row>> {
    let mut cases = cases()?;
    let mut rows: Vec<_> = cases.iter().map(|case| row(case.way, case.name)).collect();
    for _ in effort.rounds("programs, PROG_RUN") {
        let round = take_turns(&mut cases, effort.seconds, |case, _| {
            let run = case.run().with_context(|| format!("run: {}", case.name));
            Ok([run?].into_iter().collect())
        })?;
        for (row, (case, nanoseconds)) in rows.iter_mut().zip(cases.iter().zip(&round)) {
            let mut all = cases.iter().zip(&round);
            let empty = all.find(|(other, _)| other.way == case.way && other.is_empty);
            let empty = empty.map_or(f64::NAN, |(_, nanoseconds)| *nanoseconds);
            row.push(*nanoseconds, empty, 1.0);
        }
    }
    let rows = rows.into_iter().zip(&cases);
    let rows = rows.filter(|(_, case)| !case.is_empty);
    Ok(rows.map(|(row, _)| row).collect())
}

/// A program in a situation.
struct Case {
    name: &'static str,
    way: Way,
    /// It does nothing: what others of the same way are compared with.
    is_empty: bool,
    program: Program,
    /// What it leaves in front of the packet.
    metadata: Metadata,
}

/// How a program runs.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// XDP, behind a program that takes away the metadata.
    Creating,
    /// XDP, on what the run before left.
    Overwriting,
    /// TC, on a packet that has no metadata.
    Tc,
}

enum Program {
    Alone(OwnedFd),
    Behind(WithoutMetadata),
}

impl Case {
    fn new(
        name: &'static str,
        way: Way,
        program: anyhow::Result<OwnedFd>,
        metadata: Metadata,
    ) -> anyhow::Result<Self> {
        let program = program.with_context(|| format!("load: {name}"))?;
        let program = match way {
            Way::Creating => Program::Behind(WithoutMetadata::then(program.as_fd())?),
            Way::Overwriting | Way::Tc => Program::Alone(program),
        };
        Ok(Self {
            name,
            way,
            is_empty: false,
            program,
            metadata,
        })
    }

    fn empty(way: Way, kind: Kind) -> anyhow::Result<Self> {
        let program = bpf::empty(kind).map_err(Into::into);
        let case = Self::new("empty program", way, program, Metadata::None)?;
        Ok(Self {
            is_empty: true,
            ..case
        })
    }

    /// Nanoseconds of a run.
    fn run(&self) -> anyhow::Result<f64> {
        let program = match &self.program {
            Program::Alone(program) => program.as_fd(),
            Program::Behind(WithoutMetadata { program, .. }) => program.as_fd(),
        };
        match self.way {
            Way::Creating | Way::Overwriting => run_xdp(program, self.metadata),
            Way::Tc => run_tc(program),
        }
    }
}

fn cases() -> anyhow::Result<Vec<Case>> {
    use Labels::{Match, NoMatch, Unused};
    let [without_clock @ .., _] = FIELDS;
    let creating = |name, program, metadata| Case::new(name, Way::Creating, program, metadata);
    let empty_creating = Case::empty(Way::Creating, Kind::XDP)?;
    if let Program::Behind(program) = &empty_creating.program {
        check_metadata_is_taken_away(program)?;
    }
    Ok(vec![
        empty_creating,
        creating(
            "creates: empty record",
            xdp_program([], Unused),
            Metadata::Record(0),
        )?,
        creating(
            "creates: 3 fields, no clock",
            xdp_program(without_clock, Unused),
            Metadata::Record(3),
        )?,
        creating(RECORD, xdp_program(FIELDS, Unused), Metadata::Record(4))?,
        creating(
            "creates: 4 fields, no label found",
            xdp_program(FIELDS, NoMatch),
            Metadata::Record(4),
        )?,
        creating(
            "creates: 4 fields, label",
            xdp_program(FIELDS, Match),
            Metadata::Record(5),
        )?,
        creating(RAW_STRUCT, bpf::raw_struct(), Metadata::RawStruct)?,
        Case::empty(Way::Overwriting, Kind::XDP)?,
        Case::new(
            "overwrites: 4 fields, label",
            Way::Overwriting,
            xdp_program(FIELDS, Match),
            Metadata::Record(5),
        )?,
        Case::empty(Way::Tc, Kind::TC)?,
        Case::new("no record", Way::Tc, tc_program(), Metadata::None)?,
    ])
}

/// What is in front of a packet after a run.
#[derive(Clone, Copy)]
enum Metadata {
    None,
    RawStruct,
    /// With so many fields.
    Record(usize),
}

/// The fields that the XDP program writes itself, the clock's last.
const FIELDS: [&str; 4] = [
    builtin::RX_IFINDEX.name(),
    builtin::RX_QUEUE.name(),
    builtin::PACKET_NUMBER.name(),
    builtin::RX_TIMESTAMP.name(),
];

/// What the XDP program finds when it looks up the packet's source address.
#[derive(Clone, Copy, PartialEq)]
enum Labels {
    /// It does not look.
    Unused,
    /// There are labels, for other addresses.
    NoMatch,
    /// There is a label for the address.
    Match,
}

/// pktmeta's XDP program, with some of its fields.
fn xdp_program<const N: usize>(produced: [&str; N], labels: Labels) -> anyhow::Result<OwnedFd> {
    let registry = registry()?;
    let produces = |name: &FieldName| produced.contains(&name.as_str());
    let unbound = registry.fields().iter().map(|field| field.name);
    let unbound: Vec<_> = unbound
        .filter(|name| !produces(name))
        .map(|name| name.to_string())
        .collect();
    let options = ObjectOptions {
        registry: Some(&registry),
        unbound: &unbound,
        globals: vec![("labels_used", vec![u8::from(labels != Labels::Unused)])],
        ..ObjectOptions::default()
    };
    let object = Object::load(xdp::HOOK.name, xdp::HOOK.object, &options)?;
    let labelled = match labels {
        Labels::Unused => None,
        Labels::NoMatch => Some(SERVER),
        Labels::Match => Some(CLIENT),
    };
    if let Some(address) = labelled {
        let tenant = registry.by_name(TENANT.name());
        let tenant = tenant.context("the tenant field is not registered")?;
        object
            .map("pktmeta_labels")?
            .update(&label_key(address), &label(tenant, 7), MapFlags::ANY)
            .context("store a label")?;
    }
    // The program keeps its maps.
    Ok(object
        .program(xdp::HOOK.programs[0].name)?
        .try_clone_to_owned()?)
}

/// pktmeta's TC program.
fn tc_program() -> anyhow::Result<OwnedFd> {
    let registry = registry()?;
    let options = ObjectOptions {
        registry: Some(&registry),
        ..ObjectOptions::default()
    };
    let object = Object::load(tc_ingress::HOOK.name, tc_ingress::HOOK.object, &options)?;
    let program = object.program(tc_ingress::HOOK.programs[0].name)?;
    Ok(program.try_clone_to_owned()?)
}

/// The built-in fields and those of the benchmarks.
fn registry() -> anyhow::Result<Registry> {
    let mut registry = Registry::new();
    for (file, text) in [("builtin.toml", builtin::SCHEMA), ("bench.toml", SCHEMA)] {
        for field in Schema::parse(file, text)?.fields() {
            registry
                .register(&field.wanted)
                .context("register the fields")?;
        }
    }
    Ok(registry.with_secret(SECRET))
}

/// What proves records here.
const SECRET: Secret = match Secret::new(0x1234_5678_9abc) {
    Some(secret) => secret,
    None => panic!("one that is no secret"),
};

/// `struct pktmeta_label_key` of one IPv4 address.
fn label_key(address: Ipv4Addr) -> Vec<u8> {
    let bits: u32 = 32 + 32;
    let version: u32 = 4;
    let (bits, version) = (bits.to_ne_bytes(), version.to_be_bytes());
    [&bits[..], &version, &address.octets(), &[0; 12]].concat()
}

/// `struct pktmeta_labels` with one value.
fn label(field: &FieldInfo, value: u32) -> Vec<u8> {
    const LABELS_SIZE: usize = 4 * 24 + 8;
    let mut bytes = vec![
        field.tag().byte(),
        size_of_val(&value) as u8,
        field.place.unwrap_or(0),
        0,
        0,
        0,
        0,
        0,
    ];
    bytes.extend(value.to_ne_bytes());
    bytes.resize(LABELS_SIZE, 0);
    bytes
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn datagram() -> Vec<u8> {
    let [client, server] = [CLIENT, SERVER].map(|host| SocketAddr::from((host, 7000)));
    packet::udp(client, server, &[1; PAYLOAD])
}

/// Nanoseconds of a run of an XDP program, which must leave this metadata in front of the packet.
fn run_xdp(program: BorrowedFd<'_>, expected: Metadata) -> anyhow::Result<f64> {
    let run = XdpRun::new(program).packet(&datagram());
    let outcome = run.repeat(REPEAT).run()?;
    ensure!(
        outcome.verdict == XdpVerdict::Pass,
        "the program did not pass the packet: {:?}",
        outcome.verdict
    );
    let metadata = outcome.metadata;
    let right = match expected {
        Metadata::None => metadata.is_empty(),
        Metadata::RawStruct => metadata.len() == RAW_STRUCT_SIZE,
        Metadata::Record(fields) => {
            let record = SECRET.open(&metadata);
            record.is_some_and(|record| record.iter().count() == fields)
        }
    };
    ensure!(right, "the program left the wrong metadata: {metadata:x?}");
    Ok(outcome.duration_ns as f64)
}

fn run_tc(program: BorrowedFd<'_>) -> anyhow::Result<f64> {
    let run = SkbRun::new(program).packet(&datagram());
    Ok(run.repeat(REPEAT).run()?.duration_ns as f64)
}

/// Proves that programs behind `empty`'s first half meet packets without metadata.
fn check_metadata_is_taken_away(empty: &WithoutMetadata) -> anyhow::Result<()> {
    let run = XdpRun::new(empty.program.as_fd()).packet(&datagram());
    let outcome = run.metadata(&[1; 8]).run()?;
    ensure!(
        outcome.verdict == XdpVerdict::Pass && outcome.metadata.is_empty(),
        "the packet's metadata could not be taken away: {outcome:?}"
    );
    Ok(())
}

fn row(way: Way, case: &'static str) -> Row {
    Row {
        program: match way {
            Way::Creating | Way::Overwriting => "xdp",
            Way::Tc => "tc ingress",
        },
        case,
        method: Method::Run,
        unit: "packet",
        runs: Samples::default(),
        nanoseconds: Samples::default(),
        empty: Samples::default(),
    }
}
