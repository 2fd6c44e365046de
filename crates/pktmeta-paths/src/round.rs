//! A run: rounds, each with a schema and sequences of its own.

use crate::{
    fields,
    kernel::{CELLS, Cell, Finding, How, Kernel, Label},
    paths::{Origin, PATHS, Path, Route},
    random::{Random, mix},
    report::{Hook, Report, Stop, Tally},
    sequences::{SEQUENCES, Sequence},
    traffic::{Judge, Look, PORT, Passport, Sockets},
    world::{Lacking, World},
};
use anyhow::{Context, Result, ensure};
use pktmeta_bpf::{Datapath, HostRegistry, Part, UpOptions};
use pktmeta_core::schema::Schema;
use pktmeta_testkit::{packet, sandbox::Sandbox};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};
use std::{
    path::Path as FilePath,
    process::Command,
    time::{Duration, Instant},
};

/// The packets and paths of a run.
///
/// Exhaustive, so that callers name the options that matter and take the rest from
/// [`Options::default`]: more may come.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many packets, at least.
    pub packets: u64,
    /// Everything random in the first round follows from it, in the next from the next number.
    pub seed: u64,
    /// How many packets share a schema and sequences.
    pub round: u64,
    /// Only paths whose names contain this.
    pub only: Option<String>,
    /// Writes a wrong value now and then: the run must fail.
    pub sabotage: bool,
    /// Leaves in buffers what earlier packets left there, and lets packets grow at TC by as much as
    /// earlier ones did at XDP: the run must fail.
    pub unwiped: bool,
    /// Leaves packets as they are, fills every area to its last byte, sends as many packets by each
    /// path, and writes to each record in place.
    pub survey: bool,
    /// Keeps packet sockets open on every host, as tcpdump does; by default in half of all rounds,
    /// and never in a survey.
    pub captured: bool,
}

impl Options {
    fn how(&self) -> How {
        How {
            sabotage: self.sabotage,
            unwiped: self.unwiped,
            survey: self.survey,
        }
    }
}

impl Default for Options {
    /// As many packets as take some ten seconds.
    fn default() -> Self {
        Self {
            packets: 10_000,
            seed: 1,
            round: 5_000,
            only: None,
            sabotage: false,
            unwiped: false,
            survey: false,
            captured: false,
        }
    }
}

/// Packets that are sent before sockets are read again.
const BURST: usize = 32;

/// Another registry's, with the same fields.
const OTHER_BPFFS: &str = "/mnt";

/// Most bytes of a record.
const RECORD_MAX: usize = 208;

/// Runs in a sandbox of its own, and says what it saw; `progress` hears of each round.
///
/// # Errors
/// Something could not be set up. Wrong values are no error: the report has them.
pub fn run(
    sandbox: &Sandbox,
    options: &Options,
    mut progress: impl FnMut(&Report),
) -> Result<Report> {
    let mut report = Report::default();
    let mut mount = Command::new("mount");
    let mounted = mount
        .args(["-t", "bpf", "-o", "mode=755", "bpf", OTHER_BPFFS])
        .status();
    ensure!(mounted?.success(), "cannot mount a bpffs on {OTHER_BPFFS}");
    let mut world = World::new()?;
    let datapath_link = world.pair(&world.sender.clone(), &world.host.clone())?;
    let mut routes = Vec::new();
    for (cell, path) in PATHS.iter().enumerate() {
        if options
            .only
            .as_ref()
            .is_some_and(|only| !path.name.contains(only.as_str()))
        {
            continue;
        }
        match (path.build)(&mut world) {
            Ok(route) => routes.push((cell, path, route)),
            Err(error) => match error.downcast_ref::<Lacking>() {
                Some(lacking) => drop(report.missing.insert(path.name, lacking.to_string())),
                None => return Err(error.context(format!("make the path {}", path.name))),
            },
        }
    }
    let lab = Lab {
        world,
        routes,
        interface: datapath_link.far.name,
    };
    for seed in options.seed.. {
        if report.packets >= options.packets || lab.routes.is_empty() {
            break;
        }
        lab.round(sandbox, options, seed, &mut report)
            .with_context(|| format!("the round of seed {seed}"))?;
        progress(&report);
    }
    report.devices = lab.world.devices;
    Ok(report)
}

struct Lab {
    world: World,
    routes: Vec<(usize, &'static Path, Route)>,
    interface: String,
}

impl Lab {
    fn round(
        &self,
        sandbox: &Sandbox,
        options: &Options,
        seed: u64,
        report: &mut Report,
    ) -> Result<()> {
        let mut random = Random::new(seed);
        let full = options.survey || !random.one_in(4);
        let record = full.then(|| 16 + 8 * random.below((RECORD_MAX - 16) / 8 + 1));
        // By less than its area a packet grows into its own record.
        let most = if options.unwiped { 40 } else { RECORD_MAX };
        let record = record.map(|record| record.min(most));
        let schema = fields::draw_schema(&mut random, record, most);
        let datapath = Datapath::new(sandbox.bpffs());
        let up = UpOptions {
            cgroup: Some(sandbox.cgroup().into()),
            schemas: vec![schema.clone()],
            produce: Vec::new(),
            ..UpOptions::new(&self.interface)
        };
        self.world.host.run(|| datapath.up(&up))?;
        let registry = datapath.registry().read()?;
        let kernel = Kernel::load(&registry, options.how())?;
        let draw = |_| match (options.unwiped, options.survey) {
            (true, _) => Sequence::GROW_AS_XDP_DOES,
            (_, true) => Sequence::EMPTY,
            _ => Sequence::draw(&mut random),
        };
        let sequences: Vec<_> = (0..SEQUENCES).map(draw).collect();
        kernel.set_sequences(&sequences)?;
        let forged = forged_area(std::slice::from_ref(&schema))?;
        kernel.set_forged(&forged)?;
        let mut judge = Judge {
            fields: fields::bound(&registry),
            labelled: [true; CELLS],
        };
        for (cell, _, route) in &self.routes {
            kernel.set_cell(*cell, &route.cell)?;
            judge.labelled[*cell] = route.cell.label == Label::Right;
        }
        let links = kernel.attach(&self.world)?;
        let watchers = match options.captured || (!options.survey && random.one_in(2)) {
            true => self.watch()?,
            false => Vec::new(),
        };
        let with_tcp = self.routes.iter().filter(|(_, _, route)| route.tcp);
        let with_tcp = with_tcp.map(|(cell, _, _)| *cell);
        let sockets = Sockets::new(&self.world, with_tcp, options.survey)?;
        let mut looks = Vec::new();
        let (sent, arrived) =
            self.traffic(&sockets, &judge, &forged, options, &mut random, &mut looks)?;
        report.packets += sent;
        report.arrived += arrived;
        drop((links, watchers, sockets));
        self.tell(report, looks, seed);
        for (cell, stop, verdict, tally) in kernel.tallies()? {
            let path = PATHS.get(cell).map_or("?", |path| path.name);
            report.count(path, stop, verdict, tally);
        }
        for finding in kernel.findings()? {
            let path = PATHS
                .get(finding.cell as usize)
                .map_or("?", |path| path.name);
            let hook = Hook::IN_KERNEL.get(finding.hook as usize).copied();
            report.found(path, hook.unwrap_or(Hook::Xdp), || {
                self.explain(&finding, &sequences, &judge, seed)
            });
        }
        drop(kernel);
        datapath.down(Part::Everything)?;
        Ok(())
    }

    fn traffic(
        &self,
        sockets: &Sockets,
        judge: &Judge,
        forged: &[u8],
        options: &Options,
        random: &mut Random,
        looks: &mut Vec<Look>,
    ) -> Result<(u64, u64)> {
        let forger = self
            .world
            .sender
            .run(|| Socket::new(Domain::PACKET, Type::RAW, None))?;
        let (mut sent, mut arrived) = (0, 0);
        // In a survey, packets take all paths in turn; every so many turns they are a connection's.
        let mut turns = (0..self.routes.len()).cycle();
        let mut round = 0;
        // The seed of a packet with every field is odd.
        let full = u64::from(options.survey);
        while sent < options.round {
            for _ in 0..BURST {
                let turn = match options.survey {
                    true => turns.next().unwrap_or(0),
                    false => random.below(self.routes.len()),
                };
                round += u32::from(turn == 0);
                let (cell, _, route) = &self.routes[turn];
                let to = route.to[random.below(route.to.len())];
                let connects = match options.survey {
                    true => round % 24 == 1,
                    false => random.one_in(24),
                };
                if route.tcp && connects {
                    let segments = 0..1 + random.below(4);
                    let seeds: Vec<u64> = segments.map(|_| random.number() | full).collect();
                    let made = sockets.connect(&self.world, *cell, to, &seeds, judge, looks)?;
                    sent += 1 + seeds.len() as u64;
                    arrived += made.unwrap_or(0);
                    continue;
                }
                let passport = Passport {
                    seed: random.number() | full,
                    cell: *cell as u8,
                    tcp: false,
                };
                let payload = passport.payload(Passport::SIZE + random.below(200));
                match &route.from {
                    Origin::Sender => sockets.send(to, &payload)?,
                    Origin::Forger(by) => {
                        self.send_frame(&forger, &by.frame(PORT, &payload, forged))?;
                    }
                }
                sent += 1;
            }
            arrived += sockets.receive(judge, looks)?;
        }
        // What is still on its way.
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(20) {
            let more = sockets.receive(judge, looks)?;
            arrived += more;
            if more > 0 {
                quiet = Instant::now();
            }
        }
        Ok((sent, arrived))
    }

    /// What tcpdump does: holds on to packets of every device, which then are shared.
    fn watch(&self) -> Result<Vec<Socket>> {
        let world = &self.world;
        let namespaces = [
            &world.sender,
            &world.host,
            &world.receiver,
            &world.container,
        ];
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = || Socket::new(Domain::PACKET, Type::RAW, Some(all.into()));
        let sockets = namespaces.map(|netns| netns.run(socket));
        sockets.into_iter().map(|socket| Ok(socket?)).collect()
    }

    fn send_frame(&self, socket: &Socket, frame: &[u8]) -> Result<()> {
        let device = self.world.first;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: any bytes are a `sockaddr_ll`.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = device as i32;
        // SAFETY: it is a `sockaddr_ll`.
        let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) };
        socket
            .send_to(frame, &address)
            .context("send a forged frame")?;
        Ok(())
    }

    /// Enters what was seen at sockets into the report.
    fn tell(&self, report: &mut Report, looks: Vec<Look>, seed: u64) {
        for look in looks {
            let path = PATHS.get(look.cell).map_or("?", |path| path.name);
            let tally = Tally { count: 1, first: 0 };
            report.count(path, Stop::socket(look.hook), look.verdict, tally);
            if let Some(finding) = look.finding {
                report.found(path, look.hook, || format!("--seed {seed}: {finding}"));
            }
        }
    }

    /// A finding of the programs, in words.
    fn explain(
        &self,
        finding: &Finding,
        sequences: &[Sequence],
        judge: &Judge,
        round: u64,
    ) -> String {
        let device = self.world.devices.get(&finding.ifindex);
        let done = match sequences.get(finding.sequence as usize) {
            Some(sequence) => format!("after {} of: {sequence}", finding.step),
            None => format!("after {} changes by XDP", finding.step),
        };
        let field = judge
            .fields
            .iter()
            .find(|(number, _)| *number == finding.field);
        let what = match field {
            Some((number, field)) => {
                let wanted = fields::value(finding.seed, *number, field.kind);
                format!("{} is {:02x?}, not {wanted:02x?}", field.name, finding.got)
            }
            None => "whether there is a record differs from what its fields say".into(),
        };
        format!(
            "--seed {round}: packet {:#x} on {}: {what}; {done}",
            finding.seed,
            device.map_or("?", |(_, name)| name)
        )
    }
}

/// What somebody writes in front of packets who knows all about our fields, and has a secret of his
/// own: a registry of another bpffs, and our own programs.
fn forged_area(schemas: &[Schema]) -> Result<Vec<u8>> {
    let registry = HostRegistry::new(FilePath::new(OTHER_BPFFS));
    registry.register(schemas)?;
    let kernel = Kernel::load(&registry.read()?, How::default())?;
    kernel.set_cell(0, &Cell::default())?;
    let full = Passport {
        seed: mix(1) | 1,
        cell: 0,
        tcp: false,
    };
    let [from, to] = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| address.parse());
    let area = kernel.area_of(&packet::udp(from?, to?, &full.payload(Passport::SIZE)))?;
    std::fs::remove_file(registry.path()).context("remove the other registry")?;
    Ok(area)
}
