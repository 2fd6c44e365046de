//! The programs in the kernel, their tables, and what they counted.

use crate::{
    report::{Hook, Stop, Tally, Verdict},
    sequences::{SEQUENCES, Sequence},
    world::{Place, World},
};
use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_core::Registry;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

const PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/paths.bpf.o"));

/// Bytes of `struct finding`.
const FINDING: usize = 104;
const FINDINGS: u32 = 64;

/// `CELLS` of bpf/paths.h: how many paths there can be.
pub(crate) const CELLS: usize = 64;

/// The first eight bytes of every passport, and the port of the first cell.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"passport");
pub(crate) const FIRST_PORT: u16 = 10_000;

/// The programs, bound to the fields of a registry.
pub(crate) struct Kernel {
    object: Object,
}

/// What the programs do that they do not by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// They write a wrong value now and then.
    pub(crate) sabotage: bool,
    /// They leave in buffers what earlier packets left there.
    pub(crate) unwiped: bool,
    /// They change nothing about packets, and write to their records in place.
    pub(crate) survey: bool,
}

/// What the programs do with the packets of a cell: `struct cell` of bpf/paths.h.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) label: Label,
    pub(crate) action: Action,
    pub(crate) again: Again,
}

/// What XDP writes in front of a packet where it comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Label {
    /// Its values.
    #[default]
    Right,
    /// A record of somebody who knows everything but the secret: not to be believed.
    Forged,
}

/// What becomes of a packet where it comes in. The number is the index of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Next,
    XdpRedirect(u32),
    Redirect(u32),
    RedirectIngress(u32),
    RedirectNeigh(u32),
    RedirectPeer(u32),
    CloneRedirect(u32),
    XdpCpu,
}

/// What XDP does where the packet has been through XDP before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Again {
    #[default]
    Look,
    Label,
    /// Reserves so many bytes, and writes nothing there.
    Reserve(u32),
}

/// A value that is not the one that was written.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) seed: u64,
    pub(crate) cell: u32,
    pub(crate) hook: u32,
    pub(crate) ifindex: u32,
    pub(crate) sequence: u32,
    pub(crate) step: u32,
    pub(crate) field: u32,
    pub(crate) got: Vec<u8>,
}

impl Kernel {
    /// Loads the programs.
    pub(crate) fn load(registry: &Registry, how: How) -> Result<Self> {
        let options = ObjectOptions {
            registry: Some(registry),
            globals: vec![
                ("passport_magic", MAGIC.to_ne_bytes().into()),
                ("first_port", FIRST_PORT.to_ne_bytes().into()),
                ("sabotage", u32::from(how.sabotage).to_ne_bytes().into()),
                ("unwiped", u32::from(how.unwiped).to_ne_bytes().into()),
                ("survey", u32::from(how.survey).to_ne_bytes().into()),
            ],
            ..ObjectOptions::default()
        };
        let object = Object::load("paths", PROGRAMS, &options)?;
        let kernel = Self { object };
        // `struct bpf_cpumap_val`: how many frames may wait for the CPU 0, and no program there.
        kernel.put("cpus", 0, &[192_u32, 0].map(u32::to_ne_bytes).concat())?;
        Ok(kernel)
    }

    /// Runs a program wherever it has its place. Until the result is dropped.
    pub(crate) fn attach(&self, world: &World) -> Result<Vec<OwnedFd>> {
        let attach = |place: &Place| {
            let program = self.object.program(place.program)?.as_raw_fd();
            // SAFETY: all zeroes are options without anything in them.
            let mut options: libbpf_sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
            options.sz = size_of_val(&options) as libbpf_sys::size_t;
            options.flags = place.flags;
            let _inside = place.netns.enter();
            // SAFETY: the options live until after the call.
            let link = unsafe {
                libbpf_sys::bpf_link_create(
                    program,
                    place.ifindex as i32,
                    place.kind,
                    &raw const options,
                )
            };
            if link < 0 {
                let error = io::Error::from_raw_os_error(-link);
                let (program, device) = (place.program, &place.device);
                return Err(error).with_context(|| format!("attach {program} to {device}"));
            }
            // SAFETY: the descriptor was just made and is nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(link) })
        };
        world.places.iter().map(attach).collect()
    }

    pub(crate) fn set_cell(&self, number: usize, cell: &Cell) -> Result<()> {
        let (action, ifindex) = match cell.action {
            Action::Next => (0, 0),
            Action::XdpRedirect(to) => (1, to),
            Action::Redirect(to) => (2, to),
            Action::RedirectIngress(to) => (3, to),
            Action::RedirectNeigh(to) => (4, to),
            Action::RedirectPeer(to) => (5, to),
            Action::CloneRedirect(to) => (6, to),
            Action::XdpCpu => (7, 0),
        };
        let label = match cell.label {
            Label::Right => 1,
            Label::Forged => 2,
        };
        let (again, bytes) = match cell.again {
            Again::Look => (0, 0),
            Again::Label => (1, 0),
            Again::Reserve(bytes) => (2, bytes),
        };
        let value: Vec<u8> = [label, action, ifindex, again, bytes]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        self.put("cells", number as u32, &value)
    }

    pub(crate) fn set_sequences(&self, sequences: &[Sequence]) -> Result<()> {
        assert_eq!(sequences.len(), SEQUENCES);
        (0..)
            .zip(sequences)
            .try_for_each(|(number, sequence)| self.put("sequences", number, &sequence.to_bytes()))
    }

    /// What the forger puts in front of packets.
    pub(crate) fn set_forged(&self, area: &[u8]) -> Result<()> {
        let mut value = (area.len() as u32).to_ne_bytes().to_vec();
        value.extend(area);
        value.resize(4 + pktmeta_core::Record::CAPACITY, 0);
        self.put("forged", 0, &value)
    }

    /// What an XDP program makes of a packet: the bytes in front of it.
    pub(crate) fn area_of(&self, packet: &[u8]) -> Result<Vec<u8>> {
        let run = pktmeta_testkit::prog_run::XdpRun::new(self.object.program("label")?)
            .packet(packet)
            .run()?;
        Ok(run.metadata)
    }

    /// How often each cell met each verdict at each stop.
    pub(crate) fn tallies(&self) -> Result<Vec<(usize, Stop, Verdict, Tally)>> {
        let map = self.object.map("tallies")?;
        let mut tallies = Vec::new();
        for key in map.keys() {
            // `struct stop`, and for each CPU a `struct tally`.
            let [cell, hook, ifindex, verdict] = [0, 4, 8, 12].map(|at| u64_at(&key, at) as u32);
            let (Some(&hook), Some(&verdict)) = (
                Hook::IN_KERNEL.get(hook as usize),
                Verdict::IN_KERNEL.get(verdict as usize),
            ) else {
                continue;
            };
            let values = map.lookup_percpu(&key, MapFlags::ANY)?;
            let of_cpus = values.iter().flatten();
            let of_cpus = of_cpus.map(|value| (u64_at(value, 0), u64_at(value, 8)));
            let of_cpus = of_cpus.filter(|(count, _)| *count > 0);
            let tally = Tally {
                count: of_cpus.clone().map(|(count, _)| count).sum(),
                first: of_cpus.map(|(_, first)| first).min().unwrap_or(0),
            };
            tallies.push((cell as usize, Stop { hook, ifindex }, verdict, tally));
        }
        Ok(tallies)
    }

    /// The first wrong values.
    pub(crate) fn findings(&self) -> Result<Vec<Finding>> {
        let map = self.object.map("findings")?;
        let mut findings = Vec::new();
        for key in 0..FINDINGS {
            let Some(bytes) = map.lookup(&key.to_ne_bytes(), MapFlags::ANY)? else {
                continue;
            };
            assert_eq!(bytes.len(), FINDING);
            let number = |at: usize| u64_at(&bytes, at) as u32;
            let finding = Finding {
                seed: u64_at(&bytes, 0),
                cell: number(8),
                hook: number(12),
                ifindex: number(16),
                sequence: number(20),
                step: number(24),
                field: number(28),
                got: bytes[40..]
                    .iter()
                    .take(number(36) as usize)
                    .copied()
                    .collect(),
            };
            if finding.ifindex != 0 {
                findings.push(finding);
            }
        }
        Ok(findings)
    }

    fn put(&self, map: &str, key: u32, value: &[u8]) -> Result<()> {
        let map = self.object.map(map)?;
        Ok(map.update(&key.to_ne_bytes(), value, MapFlags::ANY)?)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    let rest = &bytes[at..];
    let size = rest.len().min(8);
    number[..size].copy_from_slice(&rest[..size]);
    u64::from_ne_bytes(number)
}
