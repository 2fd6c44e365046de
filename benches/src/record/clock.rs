//! Runs the loops and looks at the clock.

use super::{
    objects::{CLIENT, Family, Objects, SERVER},
    subjects::{Hook, Subject},
};
use crate::{
    bpf::{Attached, Kind},
    effort::Effort,
    lab::{PAYLOAD, take_turns},
    samples::Samples,
};
use anyhow::{Context, ensure};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_testkit::{
    link::{Link, TwoHosts},
    netns::Netns,
    packet::{self, Frame},
    prog_run::{LiveFrames, XdpRun, XdpVerdict},
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Runs of a loop at a time, of which the kernel reports the mean.
const XDP_REPEAT: u32 = 100;
/// Runs of a program that makes metadata: each has only one operation.
const XDP_REPEAT_SINGLE: u32 = 10_000;
/// Packets at a time.
const TC_PACKETS: u32 = 32;

/// How a program repeats an operation.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// The processor may begin one before the last is done.
    Close,
    /// It may not.
    Apart,
}

/// Nanoseconds of an operation of a subject and the loop that it is in, of each round.
pub(super) struct Measured {
    pub(super) close: Samples,
    /// Not of all.
    pub(super) apart: Option<Samples>,
}

/// Measures all subjects, which take turns within each round.
pub(super) fn measure(
    objects: &Objects,
    subjects: &[Subject],
    effort: Effort,
) -> anyhow::Result<Vec<Measured>> {
    let lab = Lab::new(objects)?;
    let _guard = lab.hosts.server().enter();
    let close = subjects.iter().map(|subject| (subject, Pace::Close));
    let apart = subjects.iter().filter(|subject| subject.has_apart());
    let mut in_turn: Vec<_> = close
        .chain(apart.map(|subject| (subject, Pace::Apart)))
        .collect();
    let mut samples = vec![Samples::default(); in_turn.len()];
    for _ in effort.rounds("record") {
        let round = take_turns(&mut in_turn, effort.seconds, |(subject, pace), _| {
            let nanoseconds = match subject.hook {
                Hook::Xdp => lab.run_xdp(objects, subject, *pace),
                Hook::Tc => lab.run_tc(objects, subject),
            };
            let nanoseconds = nanoseconds.with_context(|| {
                let Subject {
                    family, program, ..
                } = subject;
                format!("measure {program} of {family:?} at {}", subject.hook.name())
            })?;
            Ok([nanoseconds / subject.operations].into_iter().collect())
        })?;
        for (samples, nanoseconds) in samples.iter_mut().zip(round) {
            samples.push(nanoseconds);
        }
    }
    let mut apart = samples.split_off(subjects.len()).into_iter();
    let measured = subjects.iter().zip(samples).map(|(subject, close)| {
        let apart = subject.has_apart().then(|| apart.next()).flatten();
        Measured { close, apart }
    });
    Ok(measured.collect())
}

/// Two hosts, and attached programs that go on with the one whose turn it is.
struct Lab {
    hosts: TwoHosts,
    /// At the server's loopback interface, where it meets no packet but those of PROG_RUN.
    xdp: Turns,
    /// At the server's end of the wire.
    tc: Turns,
    /// At the client's end, where it changes nothing: what packets come to TC with.
    passing: Attached,
}

/// Its index, in every network namespace.
const LOOPBACK: u32 = 1;

/// An attached program that goes on with the one in its map.
struct Turns {
    attached: Attached,
    program: MapHandle,
}

impl Turns {
    fn give(&self, program: BorrowedFd<'_>) -> anyhow::Result<()> {
        let descriptor = program.as_raw_fd().to_ne_bytes();
        let first = 0u32.to_ne_bytes();
        Ok(self.program.update(&first, &descriptor, MapFlags::ANY)?)
    }
}

impl Lab {
    fn new(objects: &Objects) -> anyhow::Result<Self> {
        let hosts = TwoHosts::new().context("make two hosts")?;
        let attach = |host: &Netns, program, kind, interface: u32| {
            let program = objects.program(Family::Empty, program)?;
            let program = program.try_clone_to_owned()?;
            let attached = host.run(|| Attached::new(program, kind, interface as i32));
            attached.context("attach a program")
        };
        let (client, server) = (hosts.client(), hosts.server());
        let xdp = Turns {
            attached: attach(server, "xdp_dispatch", Kind::XDP, LOOPBACK)?,
            program: objects.map("xdp_turn")?,
        };
        let tc = Turns {
            attached: attach(server, "tc_dispatch", Kind::TC, hosts.server_ifindex())?,
            program: objects.map("tc_turn")?,
        };
        let passing = attach(client, "xdp_pass", Kind::XDP, hosts.client_ifindex())?;
        Ok(Self {
            hosts,
            xdp,
            tc,
            passing,
        })
    }

    /// Nanoseconds of a run.
    fn run_xdp(&self, objects: &Objects, subject: &Subject, pace: Pace) -> anyhow::Result<f64> {
        let kind = match pace {
            Pace::Close => "loop",
            Pace::Apart => "apart",
        };
        let program = format!("xdp_{kind}_{}", subject.program);
        self.xdp.give(objects.program(subject.family, &program)?)?;
        let repeat = match subject.operations {
            1.0 => XDP_REPEAT_SINGLE,
            _ => XDP_REPEAT,
        };
        let outcome = XdpRun::new(self.xdp.attached.as_fd())
            .packet(&packet::udp(CLIENT, SERVER, &[1; PAYLOAD]))
            .metadata(&subject.metadata)
            .repeat(repeat)
            .run()?;
        ensure!(
            outcome.verdict == XdpVerdict::Pass,
            "an operation failed, or read something else than there is"
        );
        let wanted = subject.leaves;
        let found = |metadata: &[u8]| metadata.windows(wanted.len()).any(|bytes| bytes == wanted);
        ensure!(
            wanted.is_empty() || found(&outcome.metadata) && !found(&subject.metadata),
            "what was set is not there: {:x?}",
            outcome.metadata
        );
        Ok(outcome.duration_ns as f64)
    }

    /// Nanoseconds of a run, by the program's own clock.
    fn run_tc(&self, objects: &Objects, subject: &Subject) -> anyhow::Result<f64> {
        let program = format!("tc_loop_{}", subject.program);
        self.tc.give(objects.program(subject.family, &program)?)?;
        let spent = objects.spent(subject.family)?;
        let key = 0u32.to_ne_bytes();
        spent.update(&key, &[0; 16], MapFlags::ANY)?;
        let macs = [self.hosts.client_link(), self.hosts.server_link()].map(Link::mac);
        LiveFrames::new(self.passing.as_fd())
            .packet(
                &Frame::new(CLIENT, SERVER)
                    .macs(macs[0], macs[1])
                    .udp(&[1; PAYLOAD]),
            )
            .metadata(&subject.metadata)
            .ingress_ifindex(self.hosts.server_ifindex())
            .repeat(TC_PACKETS)
            .run()?;
        let spent = spent.lookup(&key, MapFlags::ANY)?;
        let spent = spent.context("the map has no entry")?;
        let word = |at: usize| {
            let bytes = spent[at..].first_chunk().copied();
            bytes.map_or(0, u64::from_ne_bytes)
        };
        let (nanoseconds, runs) = (word(0), word(8));
        ensure!(
            runs == u64::from(TC_PACKETS),
            "{runs} of {TC_PACKETS} packets were measured: an operation failed, or read something \
             else than there is"
        );
        Ok(nanoseconds as f64 / runs as f64)
    }
}

/// Where among the subjects the base of one is.
pub(super) fn base_of(subjects: &[Subject], subject: &Subject) -> Option<usize> {
    subjects.iter().position(|other| {
        other.alternative.is_empty()
            && other.hook == subject.hook
            && (other.family, other.program) == (subject.base.family, subject.base.program)
    })
}
