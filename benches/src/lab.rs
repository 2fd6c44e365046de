//! Two hosts, with or without the datapath on the server, and traffic between them.
//!
//! One thread is client and server and stays on one CPU: the kernel carries a packet from the
//! client's `send` to the server's queue within that call, on the same CPU. So the time for a
//! packet is the sum of what everybody spends on it. Nothing waits, and nothing hides on another
//! CPU that has nothing else to do.

use crate::{
    bpf::{self, Attached, Kind},
    samples::Samples,
    sys::{self, Beside, Burst},
};
use anyhow::{Context, ensure};
use libbpf_rs::{MapCore, MapHandle};
use pktmeta::{Batch, Field, Record, TcpMeta, UdpMeta};
use pktmeta_bpf::{Datapath, Part, UpOptions};
use pktmeta_core::{abi, schema::Schema};
use pktmeta_testkit::{link::TwoHosts, sandbox::Sandbox};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The schema of [`TENANT`].
pub(crate) const SCHEMA: &str = r#"
owner = "bench"

[[field]]
name = "tenant"
type = "u32"
hot = true
doc = "Whose packet it is"
"#;

/// The field that the client's address is labelled with.
pub(crate) const TENANT: Field<u32> = Field::new("tenant");

/// Datagrams in one system call.
pub(crate) const BURST: usize = 32;
/// Bytes of payload of a datagram, a request and an answer.
pub(crate) const PAYLOAD: usize = 64;

/// How long to wait for what cannot take long.
const LIMIT: Duration = Duration::from_secs(2);

/// A client and a server.
pub(crate) struct Lab {
    hosts: TwoHosts,
    /// Has the server's sockets and nothing else: the client is on another host, as it were.
    cgroup: PathBuf,
    /// Has this process.
    own_cgroup: PathBuf,
    bpffs: PathBuf,
    datapath: Datapath,
}

impl Lab {
    /// Hosts that share nothing with those of another `name` but the datapath's place in bpffs.
    pub(crate) fn new(sandbox: &Sandbox, name: &str) -> anyhow::Result<Self> {
        let cgroup = sandbox.cgroup().join(name);
        fs::create_dir_all(&cgroup).context("make the server's cgroup")?;
        Ok(Self {
            hosts: TwoHosts::new().context("make two hosts")?,
            cgroup,
            own_cgroup: sandbox.cgroup().into(),
            bpffs: sandbox.bpffs().into(),
            datapath: Datapath::new(sandbox.bpffs()),
        })
    }

    /// Starts the datapath, with these built-in fields and a label for the client's address.
    pub(crate) fn up(&self, produce: &[&str]) -> anyhow::Result<Up<'_>> {
        let mut options = UpOptions::new(TwoHosts::SERVER_LINK);
        options.produce = produce.iter().copied().map(String::from).collect();
        options.cgroup = Some(self.cgroup.clone());
        options.schemas = vec![Schema::parse("bench.toml", SCHEMA)?];
        let label = format!("{}={}:7", TwoHosts::CLIENT_V4, TENANT.name());
        options.labels = Some(vec![label.parse()?]);
        self.hosts.server().run(|| self.datapath.up(&options))?;
        Ok(Up { lab: self })
    }

    /// Attaches a program that does nothing to the server: XDP or TC to its interface, others to
    /// the cgroup of its sockets.
    pub(crate) fn attach_empty(&self, kind: Kind) -> anyhow::Result<Attached> {
        self.attach(bpf::empty(kind).context("load an empty program")?, kind)
    }

    /// Attaches a program to the server.
    pub(crate) fn attach(&self, program: OwnedFd, kind: Kind) -> anyhow::Result<Attached> {
        let attached = if kind.of_interface() {
            let interface = self.hosts.server_ifindex() as i32;
            let server = self.hosts.server();
            server.run(|| Attached::new(program, kind, interface))
        } else {
            let cgroup = fs::File::open(&self.cgroup).context("open the server's cgroup")?;
            Attached::new(program, kind, cgroup.as_raw_fd())
        };
        attached.context("attach a program")
    }

    /// The ring of the datapath that is up.
    pub(crate) fn ring(&self) -> anyhow::Result<Ring> {
        // A cgroup's number is the inode of its directory.
        let cgroup = fs::metadata(&self.cgroup).context("find the server's cgroup")?;
        let map = self.pinned(&format!("cgroups/{}/ring", cgroup.ino()))?;
        ensure!(
            map.value_size() as usize == abi::SLOT_SIZE && map.key_size() == 4,
            "the ring's slots have another size"
        );
        Ok(Ring { map })
    }

    /// A map of sockets of the datapath that is up.
    pub(crate) fn map(&self, name: &str) -> anyhow::Result<MapHandle> {
        self.pinned(&format!("maps/{name}"))
    }

    fn pinned(&self, map: &str) -> anyhow::Result<MapHandle> {
        let pin = self.bpffs.join("pktmeta").join(map);
        MapHandle::from_pinned_path(&pin).with_context(|| format!("open {}", pin.display()))
    }

    /// A pair of UDP sockets.
    pub(crate) fn udp(&self) -> anyhow::Result<Udp> {
        let server = self.as_server(|| UdpSocket::bind((TwoHosts::SERVER_V4, 0)))?;
        server.set_read_timeout(Some(LIMIT))?;
        let address = server.local_addr()?;
        let client = self.hosts.client().run(|| {
            let socket = UdpSocket::bind((TwoHosts::CLIENT_V4, 0))?;
            socket.connect(address)?;
            Ok::<_, std::io::Error>(socket)
        })?;
        Ok(Udp {
            client,
            server,
            sent: Burst::new(BURST, PAYLOAD, Beside::Nothing),
            received: Burst::new(BURST, PAYLOAD, Beside::Address),
            tickets: Burst::new(BURST, PAYLOAD, Beside::AddressAndControl),
            batch: Batch::new(BURST, PAYLOAD),
            receiving: Samples::default(),
        })
    }

    /// A listening socket, and whom it takes for to connect to it.
    pub(crate) fn tcp(&self) -> anyhow::Result<Tcp<'_>> {
        let listener = self.as_server(|| TcpListener::bind((TwoHosts::SERVER_V4, 0)))?;
        Ok(Tcp {
            lab: self,
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Runs `open` on the server. A socket belongs for good to the cgroup in which it is made.
    fn as_server<T: Send>(
        &self,
        open: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let enter = |cgroup: &Path| {
            let this_process = "0";
            fs::write(cgroup.join("cgroup.procs"), this_process)
                .with_context(|| format!("enter {}", cgroup.display()))
        };
        enter(&self.cgroup)?;
        let opened = self.hosts.server().run(open);
        enter(&self.own_cgroup)?;
        opened.context("open a socket of the server")
    }
}

/// The datapath, until it is dropped.
pub(crate) struct Up<'l> {
    lab: &'l Lab,
}

impl Up<'_> {
    pub(crate) fn datapath(&self) -> &Datapath {
        &self.lab.datapath
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let datapath = &self.lab.datapath;
        if datapath.status().is_ok_and(|status| status.is_down()) {
            return; // went with another's
        }
        let server = self.lab.hosts.server();
        if let Err(error) = server.run(|| datapath.down(Part::Everything)) {
            eprintln!("take the datapath down: {error}");
        }
    }
}

/// What the server does with the records of datagrams and connections.
#[derive(Clone, Copy)]
pub(crate) enum Records<'r> {
    Ignored,
    /// With the crate: datagrams' from the mapped ring.
    Read,
    /// By a `getsockopt` for each ticket.
    Asked,
    /// By a `bpf(2)` for each ticket.
    LookedUp(&'r Ring),
}

/// Two UDP sockets.
pub(crate) struct Udp {
    pub(crate) client: UdpSocket,
    pub(crate) server: UdpSocket,
    sent: Burst,
    received: Burst,
    tickets: Burst,
    batch: Batch,
    /// Nanoseconds for each datagram that the server took, of every burst.
    receiving: Samples,
}

impl Udp {
    /// Sends a burst of datagrams, receives it, and returns how many they were.
    pub(crate) fn exchange(&mut self, records: Records<'_>) -> anyhow::Result<u64> {
        let sent = self.send()?;
        let started = Instant::now();
        let mut received = 0;
        while received < sent {
            received += self
                .receive(records)
                .with_context(|| format!("receive {} of {sent} datagrams", sent - received))?;
        }
        let nanoseconds = started.elapsed().as_nanos() as f64;
        self.receiving.push(nanoseconds / received as f64);
        Ok(received as u64)
    }

    /// Sends a burst of datagrams, and returns how many they were.
    pub(crate) fn send(&mut self) -> anyhow::Result<usize> {
        let client = self.client.as_fd();
        self.sent.send(client).context("send datagrams")
    }

    /// Receives what has arrived, at most a burst.
    pub(crate) fn receive(&mut self, records: Records<'_>) -> anyhow::Result<usize> {
        let server = self.server.as_fd();
        let count = match records {
            Records::Ignored => self.received.receive(server)?,
            Records::Read => {
                let count = server.recv_batch_meta(&mut self.batch)?;
                for datagram in self.batch.iter() {
                    let meta = datagram.meta.context("read a datagram's record")?;
                    ensure!(meta.get(TENANT) == Some(7), "a datagram without its label");
                }
                count
            }
            Records::Asked | Records::LookedUp(_) => {
                let count = self.tickets.receive(server)?;
                for ticket in self.tickets.tickets(count) {
                    let ticket = ticket.context("a datagram without a ticket")?;
                    black_box(match records {
                        Records::LookedUp(ring) => ring.record(ticket)?,
                        _ => ask(server, ticket)?,
                    });
                }
                count
            }
        };
        Ok(count)
    }

    /// What receiving has taken since this was asked last: nanoseconds for each datagram, of the
    /// median burst.
    pub(crate) fn take_receiving(&mut self) -> f64 {
        std::mem::take(&mut self.receiving).spread().median
    }
}

/// The record of a datagram, from the datapath.
pub(crate) fn ask(socket: BorrowedFd<'_>, ticket: u32) -> anyhow::Result<Record> {
    let mut bytes = [0; 256];
    let level = abi::SOL_PKTMETA_DGRAM;
    let length = sys::get_option(socket, level, ticket as i32, &mut bytes)?;
    Ok(Record::parse(&bytes[..length])?)
}

/// The pinned ring, for those who do not map it.
pub(crate) struct Ring {
    pub(crate) map: MapHandle,
}

impl Ring {
    /// Looks the record of a ticket up with `bpf(2)`.
    pub(crate) fn record(&self, ticket: u32) -> anyhow::Result<Record> {
        let mut slot = [0; abi::SLOT_SIZE];
        let slots_mask = self.map.max_entries() - 2;
        // SAFETY: values have SLOT_SIZE bytes and keys 4, as Lab::ring() checked.
        unsafe { sys::look_up(self.map.as_fd(), ticket & slots_mask, &mut slot) }?;
        ensure!(slot[..4] == ticket.to_ne_bytes(), "another ticket's");
        let record = &slot[abi::SLOT_RECORD..][..Record::CAPACITY];
        Ok(Record::parse(record)?)
    }
}

/// A listening TCP socket.
pub(crate) struct Tcp<'l> {
    lab: &'l Lab,
    address: SocketAddr,
    listener: TcpListener,
}

impl Tcp<'_> {
    /// Makes this thread the client's: connections start in its network namespace.
    pub(crate) fn be_client(&self) -> pktmeta_testkit::netns::NetnsGuard {
        self.lab.hosts.client().enter()
    }

    /// Opens a connection, sends a request, answers it, and closes the connection: 1.
    pub(crate) fn exchange(&self, records: Records<'_>) -> anyhow::Result<u64> {
        let (mut client, mut server) = self.connect()?;
        let mut buffer = [0; PAYLOAD];
        client.write_all(&[1; PAYLOAD]).context("send a request")?;
        server
            .read_exact(&mut buffer)
            .context("receive a request")?;
        if let Records::Read = records {
            let opening = server.opening_meta().context("read the SYN's record")?;
            let latest = server.packet_meta().context("read the latest record")?;
            for meta in [opening, latest] {
                ensure!(
                    meta.get(TENANT) == Some(7),
                    "a connection without its label"
                );
            }
        }
        server.write_all(&buffer).context("send an answer")?;
        client
            .read_exact(&mut buffer)
            .context("receive an answer")?;
        // Before the server, which then has nothing left to say goodbye for.
        drop(client);
        Ok(1)
    }

    /// As [`Tcp::connect`], for a thread that is not the client's.
    pub(crate) fn connect_as_client(&self) -> anyhow::Result<(TcpStream, TcpStream)> {
        let _client = self.be_client();
        self.connect()
    }

    /// Both ends of a new connection. The client's end closes with a reset: connections in
    /// `TIME_WAIT` would use up its ports.
    pub(crate) fn connect(&self) -> anyhow::Result<(TcpStream, TcpStream)> {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        client.set_linger(Some(Duration::ZERO))?;
        client.connect(&self.address.into()).context("connect")?;
        let (server, _) = self.listener.accept().context("accept a connection")?;
        Ok((client.into(), server))
    }
}

/// How often everything gets its turn in a round.
const TURNS: u32 = 20;

/// Nanoseconds for each of what every subject exchanges in `duration`. They take short turns: the
/// machine may change its speed, but not between neighbours. Of each subject the median call
/// counts, so that calls during which somebody else had the CPU do not.
pub(crate) fn take_turns<S>(
    subjects: &mut [S],
    duration: Duration,
    mut turn: impl FnMut(&mut S, Duration) -> anyhow::Result<Samples>,
) -> anyhow::Result<Vec<f64>> {
    let mut calls = vec![Samples::default(); subjects.len()];
    for _ in 0..TURNS {
        for (subject, calls) in subjects.iter_mut().zip(&mut calls) {
            calls.append(turn(subject, duration / TURNS)?);
        }
    }
    Ok(calls.iter().map(|calls| calls.spread().median).collect())
}

/// Nanoseconds for each of what `exchange` says it exchanged, of every call in `duration`.
pub(crate) fn calls(
    duration: Duration,
    mut exchange: impl FnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<Samples> {
    let mut calls = Samples::default();
    let started = Instant::now();
    let mut before = started;
    while before - started < duration {
        let exchanged = exchange()?;
        let now = Instant::now();
        calls.push((now - before).as_nanos() as f64 / exchanged as f64);
        before = now;
    }
    Ok(calls)
}
