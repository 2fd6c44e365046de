//! The BPF programs of the alternatives, and what they consist of.

use anyhow::Context;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta::{Record, Registry};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_core::{schema::Schema, seal::Secret};
use std::{
    fmt::Write,
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
};

/// Whose programs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    /// What the measuring itself takes.
    Empty,
    Raw,
    Traits,
    Hash,
    Pktmeta,
    /// pktmeta's on a host that has no fields but the four hot ones.
    PktmetaHot,
}

/// All programs, loaded.
pub(super) struct Objects {
    objects: Vec<(Family, Object)>,
    registry: Registry,
}

impl Objects {
    pub(super) fn load() -> anyhow::Result<Self> {
        let all = registry(&[hot_fields(), cold_fields()].concat())?;
        let hot = registry(&hot_fields())?;
        let families = [
            (Family::Empty, EMPTY, None),
            (Family::Raw, RAW, None),
            (Family::Traits, TRAITS, None),
            (Family::Hash, HASH, None),
            (Family::Pktmeta, PKTMETA, Some(&all)),
            (Family::PktmetaHot, PKTMETA, Some(&hot)),
        ];
        let load = |(family, elf, registry)| {
            let options = ObjectOptions {
                registry,
                ..ObjectOptions::default()
            };
            let object = Object::load(&format!("{family:?}"), elf, &options)?;
            Ok((family, object))
        };
        let objects = families.map(load).into_iter();
        let objects = Self {
            objects: objects.collect::<anyhow::Result<_>>()?,
            registry: all,
        };
        objects.fill_flows().context("fill the hash maps")?;
        Ok(objects)
    }

    pub(super) fn program(&self, family: Family, name: &str) -> anyhow::Result<BorrowedFd<'_>> {
        Ok(self.object(family)?.program(name)?)
    }

    /// A record in the area in front of a packet.
    pub(super) fn enclose(&self, record: &Record) -> Vec<u8> {
        SECRET.enclose(record, self.registry.layout().area)
    }

    /// The map in which a family's TC programs sum up what they took.
    pub(super) fn spent(&self, family: Family) -> anyhow::Result<MapHandle> {
        Ok(self.object(family)?.map("spent")?)
    }

    /// The map `name` of the programs that measure nothing.
    pub(super) fn map(&self, name: &str) -> anyhow::Result<MapHandle> {
        Ok(self.object(Family::Empty)?.map(name)?)
    }

    fn object(&self, family: Family) -> anyhow::Result<&Object> {
        let found = self.objects.iter().find(|(other, _)| *other == family);
        Ok(&found.context("not loaded")?.1)
    }

    /// Puts the packet's flow into both maps, and into one so many others as it has room for.
    fn fill_flows(&self) -> anyhow::Result<()> {
        let hash = self.object(Family::Hash)?;
        let known: Vec<u8> = (0..8).flat_map(|n| value(n, 8)).collect();
        let one = hash.map("flows_one")?;
        one.update(&flow(CLIENT.port()), &known, MapFlags::ANY)?;
        let many = hash.map("flows_many")?;
        for port in 0..=u16::MAX {
            many.update(&flow(port), &known, MapFlags::ANY)?;
        }
        Ok(())
    }
}

/// What proves records here.
const SECRET: Secret = match Secret::new(0x1234_5678_9abc) {
    Some(secret) => secret,
    None => panic!("one that is no secret"),
};

const EMPTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/empty.bpf.o"));
const RAW: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/raw.bpf.o"));
const TRAITS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/traits.bpf.o"));
const HASH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hash.bpf.o"));
const PKTMETA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pktmeta.bpf.o"));

/// Ends of the one flow that packets belong to; `hash.bpf.c` knows them.
pub(super) const CLIENT: SocketAddr = address(1);
pub(super) const SERVER: SocketAddr = address(2);

const fn address(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 7000)
}

/// `struct flow` of the packets' flow, or of one from another port.
fn flow(source_port: u16) -> Vec<u8> {
    const UDP: u32 = 17;
    let [SocketAddr::V4(client), SocketAddr::V4(server)] = [CLIENT, SERVER] else {
        unreachable!("both are IPv4")
    };
    let mut bytes = client.ip().octets().to_vec();
    bytes.extend(server.ip().octets());
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(server.port().to_be_bytes());
    bytes.extend(UDP.to_ne_bytes());
    bytes
}

/// What the field `n` of hot ones, or of cold ones, has before: `HOT()` and `COLD()` in C.
pub(super) fn value(n: u8, size: u8) -> Vec<u8> {
    vec![n + 1; size.into()]
}

/// Sizes of eight cold fields that differ.
pub(super) const MIXED_SIZES: [u8; 8] = [4, 8, 2, 4, 8, 2, 4, 8];

/// A field's name, bytes of its values, and whether it has a place.
type FieldSpec = (String, u8, bool);

fn hot_fields() -> Vec<FieldSpec> {
    (0..4).map(|n| (format!("hot_{n}"), 4, true)).collect()
}

fn cold_fields() -> Vec<FieldSpec> {
    let cold = (0..8).map(|n| (format!("cold_{n}"), 8, false));
    let mixed = (0..).zip(MIXED_SIZES);
    let mixed = mixed.map(|(n, size): (u8, u8)| (format!("mixed_{n}"), size, false));
    cold.chain(mixed)
        .chain([("other".to_owned(), 8, false)])
        .collect()
}

/// A host with these fields.
fn registry(fields: &[FieldSpec]) -> anyhow::Result<Registry> {
    let mut text = String::from("owner = \"bench\"\n");
    for (name, size, hot) in fields {
        let bits = size * 8;
        writeln!(
            text,
            "[[field]]\nname = \"{name}\"\ntype = \"u{bits}\"\nhot = {hot}\ndoc = \"Measured\""
        )?;
    }
    let mut registry = Registry::new();
    for field in Schema::parse("record.toml", &text)?.fields() {
        registry
            .register(&field.wanted)
            .context("register the fields")?;
    }
    Ok(registry.with_secret(SECRET))
}

/// A record with the fields whose names start so, in the order of their numbers. Hot ones stand at
/// their places, as where an XDP program made the record.
pub(super) fn record(objects: &Objects, prefixes: &[&str]) -> anyhow::Result<Record> {
    let mut record = Record::new();
    for prefix in prefixes {
        let fields = objects.registry.fields().iter();
        // By name, which is by number too.
        let fields = fields.filter(|field| field.name.as_str().starts_with(prefix));
        let fields = (0..).zip(fields).map(|(n, field)| {
            let size = field.kind.size();
            (field, value(n, size))
        });
        let (hot, cold): (Vec<_>, Vec<_>) = fields.partition(|(field, _)| field.place.is_some());
        if !hot.is_empty() {
            let mut bytes = objects.registry.layout().template.as_bytes().to_vec();
            for (field, value) in &hot {
                let place = usize::from(field.place.unwrap_or(0));
                let end = place + field.kind.tlv_size();
                bytes[place] = field.tag().byte();
                bytes[end - value.len()..end].copy_from_slice(value);
            }
            record = Record::parse(&bytes)?;
        }
        for (field, value) in &cold {
            record.set(field.tag(), value)?;
        }
    }
    Ok(record)
}

/// What a program consists of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Anatomy {
    /// BPF instructions after the verifier, of the program itself.
    pub(super) inlined: i64,
    /// And of the functions that it calls.
    pub(super) called: i64,
    /// Bytes of machine code, of all.
    pub(super) machine_code: i64,
    /// Instructions that the verifier looked at, of all.
    pub(super) verified: i64,
}

impl Anatomy {
    /// Asks the kernel.
    pub(super) fn of(program: BorrowedFd<'_>) -> io::Result<Self> {
        let functions = prog_info(program, &mut [])?.nr_func_info;
        // Where the functions start, the program's own first.
        let mut functions = vec![libbpf_sys::bpf_func_info::default(); functions as usize];
        let info = prog_info(program, &mut functions)?;
        let total = i64::from(info.xlated_prog_len / 8);
        let inlined = functions.get(1).map_or(total, |next| next.insn_off.into());
        Ok(Self {
            inlined,
            called: total - inlined,
            machine_code: info.jited_prog_len.into(),
            verified: info.verified_insns.into(),
        })
    }

    /// What is more than in another; of what the verifier looked at all.
    pub(super) fn beyond(self, other: Self) -> Self {
        Self {
            inlined: self.inlined - other.inlined,
            called: self.called - other.called,
            machine_code: self.machine_code - other.machine_code,
            verified: self.verified,
        }
    }
}

/// What the kernel says of a program and, as far as there is room, of its functions.
fn prog_info(
    program: BorrowedFd<'_>,
    functions: &mut [libbpf_sys::bpf_func_info],
) -> io::Result<libbpf_sys::bpf_prog_info> {
    let mut info = libbpf_sys::bpf_prog_info {
        nr_func_info: functions.len() as u32,
        func_info_rec_size: size_of::<libbpf_sys::bpf_func_info>() as u32,
        func_info: functions.as_mut_ptr() as u64,
        ..Default::default()
    };
    let mut size = size_of_val(&info) as u32;
    // SAFETY: info has `size` bytes, and points to as many functions as it says.
    let result =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut size) };
    match result {
        0 => Ok(info),
        _ => Err(io::Error::last_os_error()),
    }
}
