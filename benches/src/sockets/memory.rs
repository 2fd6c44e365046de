//! What connections and sockets take of the kernel's memory, and whether it comes back.

use super::observe::Observer;
use crate::{
    lab::{Lab, TENANT, Tcp},
    output::{self, number, table},
    sys::{self, Child},
};
use anyhow::{Context, ensure};
use libbpf_rs::{MapCore, MapHandle};
use pktmeta::{TcpMeta, UdpMeta};
use pktmeta_bpf::UpOptions;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

/// Connections that are open at the same time.
const CONNECTIONS: usize = 50_000;
/// Listeners that they go to: the client has fewer ports for each than there are connections.
const LISTENERS: usize = 4;

/// Descriptors that are for other things.
const SPARE_DESCRIPTORS: usize = 500;

/// How long memory may take to come back, and how long is waited at least.
const LIMIT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(500);

/// What memory was taken.
pub(super) struct Memory {
    /// Of the maps that exist as long as the datapath is up.
    maps: Vec<(&'static str, u64)>,
    without: Phases<u64>,
    with: Phases<u64>,
    /// Connections that have records, by socket storage.
    stored: Phases<u64>,
    /// SYNs whose records wait.
    waiting: Phases<u64>,
    /// Bytes of socket options' memory, which includes storage.
    connection: u64,
    socket: u64,
}

/// Before the connections are opened, while they are open, and after they were closed.
struct Phases<T> {
    before: T,
    open: T,
    after: T,
}

/// Opens all connections, with and without the datapath, and closes them.
pub(super) fn measure(sandbox: &Sandbox, observer: &Observer) -> anyhow::Result<Memory> {
    eprintln!("sockets, memory: {CONNECTIONS} connections, without and with the datapath");
    let bare = Lab::new(sandbox, "bare")?;
    let without = through_phases(&bare, |_| Ok(()), slab_bytes, |_| true)?;

    let lab = Lab::new(sandbox, "labelled")?;
    let _up = lab.up(&UpOptions::PRODUCE)?;
    let mut maps = vec![("ring", charged(&lab.ring()?.map)?)];
    for name in ["syns", "connections", "tickets"] {
        maps.push((name, charged(&lab.map(name)?)?));
    }
    let udp = lab.udp()?;
    udp.server.enable_packet_meta()?;
    let socket = sys::option_memory(udp.server.as_fd())?;
    let connection = {
        let (_client, server) = lab.tcp()?.connect_as_client()?;
        sys::option_memory(server.as_fd())?
    };
    let (connections, syns) = (lab.map("connections")?, lab.map("syns")?);
    let count = || {
        Ok(Counts {
            slab: slab_bytes()?,
            stored: observer.stored(&connections)?,
            waiting: syns.keys().count() as u64,
        })
    };
    let has_record = |server: &TcpStream| {
        let opening = server.opening_meta().context("read a SYN's record")?;
        ensure!(opening.get(TENANT) == Some(7), "a record is lost");
        Ok(())
    };
    let is_clean = |counts: &Counts| counts.stored == 0 && counts.waiting == 0;
    let phases = through_phases(&lab, has_record, count, is_clean)?;
    let pick = |count: fn(&Counts) -> u64| Phases {
        before: count(&phases.before),
        open: count(&phases.open),
        after: count(&phases.after),
    };
    Ok(Memory {
        maps,
        without,
        with: pick(|counts| counts.slab),
        stored: pick(|counts| counts.stored),
        waiting: pick(|counts| counts.waiting),
        connection,
        socket,
    })
}

struct Counts {
    slab: u64,
    stored: u64,
    waiting: u64,
}

/// Counts before, while, and after all connections of a lab are open. While they are, each is
/// checked from its server's end.
fn through_phases<T>(
    lab: &Lab,
    check: impl Fn(&TcpStream) -> anyhow::Result<()>,
    count: impl Fn() -> anyhow::Result<T>,
    is_clean: impl Fn(&T) -> bool,
) -> anyhow::Result<Phases<T>> {
    let each = (sys::allow_descriptors()? - SPARE_DESCRIPTORS) / 2;
    let listeners = (0..LISTENERS)
        .map(|_| lab.tcp())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let before = count()?;
    let mut holders = Vec::new();
    let mut rest = CONNECTIONS;
    while rest > 0 {
        let share = rest.min(each);
        holders.push(Holder::new(&listeners, share, &check)?);
        rest -= share;
    }
    let open = count()?;
    for holder in &mut holders {
        holder.check()?;
    }
    drop(holders);
    let closed = Instant::now();
    let mut after = count()?;
    // The kernel frees memory some grace periods after the connections.
    while closed.elapsed() < GRACE || (!is_clean(&after) && closed.elapsed() < LIMIT) {
        thread::sleep(GRACE / 5);
        after = count()?;
    }
    Ok(Phases {
        before,
        open,
        after,
    })
}

/// A process that holds connections: no process may have descriptors for all of them.
struct Holder {
    _process: Child,
    line: UnixStream,
}

impl Holder {
    /// Opens so many connections.
    fn new(
        listeners: &[Tcp<'_>],
        count: usize,
        check: impl Fn(&TcpStream) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let (line, mut other) = UnixStream::pair()?;
        let work = || {
            let mut connections = Vec::with_capacity(count);
            for listener in listeners.iter().cycle().take(count) {
                connections.push(listener.connect_as_client()?);
            }
            other.write_all(&[0])?;
            other.read_exact(&mut [0])?;
            connections
                .iter()
                .try_for_each(|(_, server)| check(server))?;
            other.write_all(&[0])?;
            // Until it is killed.
            Ok(other.read_exact(&mut [0])?)
        };
        // SAFETY: nothing here starts threads that stay.
        let process = unsafe { Child::fork(work) }.context("start a process")?;
        let mut holder = Self {
            _process: process,
            line,
        };
        holder.wait()?;
        Ok(holder)
    }

    /// Checks all connections.
    fn check(&mut self) -> anyhow::Result<()> {
        self.line.write_all(&[0])?;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let read = self.line.read_exact(&mut [0]);
        read.context("a process that holds connections has failed")
    }
}

impl Memory {
    pub(super) fn print(&self) {
        let mut rows = table(["of the kernel", "before", "open", "after"]);
        let mut row = |name: &str, phases: &Phases<u64>, unit: u64| {
            let mut cells = vec![name.into()];
            let counts = [phases.before, phases.open, phases.after];
            cells.extend(counts.map(|count| number((count / unit) as f64, 0)));
            rows.add_row(cells);
        };
        row(
            "kmalloc slabs without the datapath, KiB",
            &self.without,
            1024,
        );
        row("kmalloc slabs with the datapath, KiB", &self.with, 1024);
        row("connections that have records", &self.stored, 1);
        row("SYNs whose records wait", &self.waiting, 1);
        output::print(
            &format!("Memory: {CONNECTIONS} connections, both ends on this host"),
            &rows,
            &[],
        );
        println!(
            "A connection with a record takes {:.0} bytes more than one without the datapath, of \
             which\n\
             {} are charged to its socket's option memory; a UDP socket that reads records {}.",
            self.with.for_each() - self.without.for_each(),
            self.connection,
            self.socket,
        );
        for (name, bytes) in &self.maps {
            println!("The map {name} takes {} KiB.", bytes / 1024);
        }
        println!();
    }

    pub(super) fn to_json(&self) -> Value {
        let maps = self
            .maps
            .iter()
            .map(|&(name, bytes)| (name.to_owned(), bytes.into()));
        json!({
            "connections": CONNECTIONS,
            "map_bytes": Value::Object(maps.collect()),
            "slab_bytes_without": self.without.to_json(),
            "slab_bytes_with": self.with.to_json(),
            "connections_with_records": self.stored.to_json(),
            "waiting_syns": self.waiting.to_json(),
            "bytes_each_connection": self.with.for_each() - self.without.for_each(),
            "option_memory_each_connection": self.connection,
            "option_memory_each_udp_socket": self.socket,
        })
    }
}

impl Phases<u64> {
    /// What each connection takes while it is open.
    fn for_each(&self) -> f64 {
        (self.open as f64 - self.before as f64) / CONNECTIONS as f64
    }

    fn to_json(&self) -> Value {
        json!({ "before": self.before, "open": self.open, "after": self.after })
    }
}

/// Bytes that the kernel has allocated for what has no slabs of its own: socket storage, for one.
fn slab_bytes() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/slabinfo").context("read /proc/slabinfo")?;
    let caches = text.lines().filter(|line| line.starts_with("kmalloc"));
    let bytes = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let objects: u64 = columns.next()?.parse().ok()?;
        let _allocated = columns.next()?;
        Some(objects * columns.next()?.parse::<u64>().ok()?)
    };
    let sizes = caches.map(|line| bytes(line).with_context(|| format!("unknown line: {line}")));
    sizes.sum()
}

/// Bytes that the kernel charged for a map.
fn charged(map: &MapHandle) -> anyhow::Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = line.context("no memlock in a map's fdinfo")?.trim();
    Ok(bytes.parse()?)
}
