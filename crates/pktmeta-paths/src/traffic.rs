//! Packets that say what they carry, and what sockets are told of them.

use crate::{
    fields,
    kernel::{CELLS, FIRST_PORT, MAGIC},
    random::mix,
    report::{Hook, Verdict},
    world::{V4, V6, Version, World},
};
use anyhow::{Context, Result};
use pktmeta::{PacketMeta, TcpMeta, UdpMeta};
use pktmeta_core::{FieldInfo, Record, abi};
use socket2::{Domain, MaybeUninitSlice, MsgHdrMut, Protocol, SockRef, Socket, Type};
use std::{
    cell::Cell,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Where datagrams go.
pub(crate) const PORT: u16 = 9999;

/// How long a connection may take to be made, or to bring its messages, before it is given up:
/// packets are dropped on the way, and sent again too late. Many times what the last ones took,
/// within these.
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(300);

/// Bytes of a message on a connection, and of a segment's payload.
const MESSAGE: usize = 128;

/// The last bytes of a packet: `struct passport` of bpf/paths.h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passport {
    pub(crate) seed: u64,
    pub(crate) cell: u8,
    pub(crate) tcp: bool,
}

impl Passport {
    pub(crate) const SIZE: usize = 24;

    /// A payload of `size` bytes that ends with it.
    pub(crate) fn payload(self, size: usize) -> Vec<u8> {
        let mut payload = vec![0xa5; size - Self::SIZE];
        payload.extend(MAGIC.to_ne_bytes());
        payload.extend(self.seed.to_ne_bytes());
        payload.extend([self.cell, self.tcp.into(), 0, 0, 0, 0, 0, 0]);
        payload
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let passport = payload.last_chunk::<{ Self::SIZE }>()?;
        let number = |at: usize| Some(u64::from_ne_bytes(*passport[at..].first_chunk()?));
        (number(0)? == MAGIC).then_some(())?;
        Some(Self {
            seed: number(8)?,
            cell: passport[16],
            tcp: passport[17] != 0,
        })
    }
}

/// A look at a record at a socket.
pub(crate) struct Look {
    pub(crate) cell: usize,
    pub(crate) hook: Hook,
    pub(crate) verdict: Verdict,
    /// What was wrong.
    pub(crate) finding: Option<String>,
}

/// The sockets of a round.
pub(crate) struct Sockets {
    sender: [UdpSocket; 2],
    receivers: Vec<UdpSocket>,
    listeners: Vec<(Version, u16, TcpListener)>,
    patience: Cell<Duration>,
    /// As the programs' global of this name: what it adds to the seeds of SYNs.
    survey: bool,
}

impl Sockets {
    /// Sockets of the sender, and on every host that receives; listeners for some cells.
    pub(crate) fn new(
        world: &World,
        cells: impl Iterator<Item = usize> + Clone,
        survey: bool,
    ) -> Result<Self> {
        let sender = world.sender.run(|| {
            let [v4, v6] = [any(V4, 0), any(V6, 0)].map(UdpSocket::bind);
            Ok::<_, io::Error>([v4?, v6?])
        });
        let (mut receivers, mut listeners) = (Vec::new(), Vec::new());
        for netns in [&world.host, &world.receiver] {
            let _inside = netns.enter();
            for version in [V4, V6] {
                let socket = datagram_socket(version).context("make a socket for datagrams")?;
                socket.enable_packet_meta()?;
                receivers.push(socket);
                for cell in cells.clone() {
                    let port = FIRST_PORT + cell as u16;
                    let listener = listener(version, port).context("make a listener")?;
                    listener.remember_segments()?;
                    listeners.push((version, port, listener));
                }
            }
        }
        Ok(Self {
            sender: sender?,
            receivers,
            listeners,
            patience: Cell::new(*PATIENCE.end()),
            survey,
        })
    }

    pub(crate) fn send(&self, to: IpAddr, payload: &[u8]) -> io::Result<()> {
        let socket = &self.sender[usize::from(to.is_ipv6())];
        match socket.send_to(payload, (to, PORT)) {
            Ok(_) => Ok(()),
            // What an earlier packet met on its way is told to the next.
            Err(error) if error.raw_os_error() == Some(libc::EHOSTUNREACH) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Receives what has arrived: how many datagrams, and what was seen of them.
    pub(crate) fn receive(&self, judge: &Judge, looks: &mut Vec<Look>) -> Result<u64> {
        let mut arrived = 0;
        for socket in &self.receivers {
            while let Some((payload, control)) = receive(socket)? {
                let Some(passport) = Passport::read(&payload) else {
                    continue;
                };
                arrived += 1;
                let (seed, cell) = (passport.seed, usize::from(passport.cell));
                let meta = socket.control_meta(&control);
                looks.push(judge.look(cell, Hook::Ring, &[seed], meta));
                if let Some(ticket) = mark(&control) {
                    let record = by_ticket(socket, ticket);
                    looks.push(judge.look_at(cell, Hook::Ticket, &[seed], record));
                }
            }
        }
        Ok(arrived)
    }

    /// Makes a connection, sends messages and reads them: how many packets it took, and what was
    /// seen of them. None if it did not come about.
    pub(crate) fn connect(
        &self,
        world: &World,
        cell: usize,
        to: IpAddr,
        seeds: &[u64],
        judge: &Judge,
        looks: &mut Vec<Look>,
    ) -> Result<Option<u64>> {
        let version = if to.is_ipv4() { V4 } else { V6 };
        let port = FIRST_PORT + cell as u16;
        let (began, patience) = (Instant::now(), self.patience.get());
        let made = world.sender.run(|| {
            let socket = Socket::new(Domain::for_address((to, port).into()), Type::STREAM, None)?;
            // So that a message is a segment, whatever else is in flight: 12 bytes are its time
            // stamp's.
            set(
                &socket,
                libc::IPPROTO_TCP,
                libc::TCP_MAXSEG,
                MESSAGE as i32 + 12,
            )?;
            socket.set_tcp_nodelay(true)?;
            socket.connect_timeout(&SocketAddr::new(to, port).into(), patience)?;
            Ok::<TcpStream, io::Error>(socket.into())
        });
        let Ok(mut client) = made else {
            return Ok(None);
        };
        let mut sent = Vec::new();
        for &seed in seeds {
            let passport = Passport {
                seed,
                cell: cell as u8,
                tcp: true,
            };
            sent.extend(passport.payload(MESSAGE));
        }
        if client.write_all(&sent).is_err() {
            return Ok(None);
        }
        let Some(server) = self.accept(version, port, &sent)? else {
            return Ok(None);
        };
        let enough = (3 * patience + 20 * began.elapsed()) / 4;
        self.patience
            .set(enough.clamp(*PATIENCE.start(), *PATIENCE.end()));
        // None was saved of one that a cookie brought back.
        let Ok(syn) = syn_seed(&server) else {
            return Ok(None);
        };
        let syn = syn | u64::from(self.survey);
        looks.push(judge.look(cell, Hook::Syn, &[syn], server.opening_meta()));
        // The latest segment that had a record, which may be none of the last.
        let mut any = vec![syn];
        any.extend(seeds);
        looks.push(judge.look(cell, Hook::Segment, &any, server.packet_meta()));
        for (n, &seed) in (0..).zip(seeds) {
            let at = n * MESSAGE as u64;
            looks.push(judge.look(cell, Hook::Segment, &[seed], server.meta_at(at)));
        }
        // No TIME_WAIT on either side: ports are few.
        for socket in [SockRef::from(&client), SockRef::from(&server)] {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        Ok(Some(1 + seeds.len() as u64))
    }

    /// The server's end of the connection with these messages, on whichever host that is.
    fn accept(&self, version: Version, port: u16, sent: &[u8]) -> Result<Option<TcpStream>> {
        let listeners = self.listeners.iter();
        let listeners = listeners.filter(|(v, p, _)| (*v, *p) == (version, port));
        let listeners: Vec<_> = listeners.map(|(_, _, listener)| listener).collect();
        let patience = self.patience.get();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            for listener in &listeners {
                let mut server = match listener.accept() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    accepted => accepted?.0,
                };
                server.set_nonblocking(false)?;
                server.set_read_timeout(Some(patience))?;
                let mut received = vec![0; sent.len()];
                // Else it is one that was given up before.
                if server.read_exact(&mut received).is_ok() && received == sent {
                    return Ok(Some(server));
                }
            }
        }
        Ok(None)
    }
}

/// What records are to say.
pub(crate) struct Judge {
    pub(crate) fields: Vec<(u32, FieldInfo)>,
    /// Whether anybody of ours labels the packets of a cell.
    pub(crate) labelled: [bool; CELLS],
}

impl Judge {
    /// Judges metadata that must be of one of these seeds.
    fn look(
        &self,
        cell: usize,
        hook: Hook,
        seeds: &[u64],
        meta: Result<PacketMeta, pktmeta::Error>,
    ) -> Look {
        let record = meta
            .map(|meta| meta.record().copied())
            .map_err(|error| error.to_string());
        self.look_at(cell, hook, seeds, record)
    }

    fn look_at(
        &self,
        cell: usize,
        hook: Hook,
        seeds: &[u64],
        record: Result<Option<Record>, String>,
    ) -> Look {
        let (verdict, finding) = match record {
            Err(_) => (Verdict::Refused, None),
            Ok(None) => (Verdict::NoRecord, None),
            Ok(Some(record)) => {
                let of = |&seed: &u64| self.compare(cell, seed, &record);
                let best = seeds.iter().map(of).min_by_key(|(verdict, _)| *verdict);
                best.unwrap_or((Verdict::Wrong, None))
            }
        };
        Look {
            cell,
            hook,
            verdict,
            finding,
        }
    }

    fn compare(&self, cell: usize, seed: u64, record: &Record) -> (Verdict, Option<String>) {
        let mut worst = Verdict::Right;
        if !self.labelled[cell] {
            let why = format!("a record where none is ours: {record:?}");
            return (Verdict::Wrong, Some(why));
        }
        for (number, field) in &self.fields {
            let wanted = fields::value(seed, *number, field.kind);
            let got = record.get(field.tag());
            match (&wanted, got) {
                (None, None) => {}
                (Some(_), None) => worst = Verdict::Absent,
                (Some(wanted), Some(got)) if wanted == got => {}
                (wanted, Some(got)) => {
                    let why = format!(
                        "packet {seed:#x}: {} is {got:02x?}, not {wanted:02x?}",
                        field.name
                    );
                    return (Verdict::Wrong, Some(why));
                }
            }
        }
        (worst, None)
    }
}

fn any(version: Version, port: u16) -> SocketAddr {
    match version {
        V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
        V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}

fn datagram_socket(version: Version) -> io::Result<UdpSocket> {
    let address = any(version, PORT);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if version == V6 {
        socket.set_only_v6(true)?;
    }
    // More than what arrives between two looks.
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn listener(version: Version, port: u16) -> io::Result<TcpListener> {
    let address = any(version, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if version == V6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    set(&socket, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, 1)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(64)?;
    Ok(socket.into())
}

/// One datagram and its control messages, if there is one.
fn receive(socket: &UdpSocket) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    const PAYLOAD: usize = 2048;
    const CONTROL: usize = 256;
    let (mut payload, mut control) = (Vec::with_capacity(PAYLOAD), Vec::with_capacity(CONTROL));
    let mut buffers = [MaybeUninitSlice::new(payload.spare_capacity_mut())];
    let mut header = MsgHdrMut::new()
        .with_buffers(&mut buffers)
        .with_control(control.spare_capacity_mut());
    let length = match SockRef::from(socket).recvmsg(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        result => result?,
    };
    let control_length = header.control_len();
    // SAFETY: the kernel wrote so many bytes to each, and no more than there was room for.
    unsafe {
        payload.set_len(length);
        control.set_len(control_length);
    }
    Ok(Some((payload, control)))
}

/// The mark that came along, where the ticket is.
fn mark(control: &[u8]) -> Option<u32> {
    // A `cmsghdr`: its own length and that of its data, level, type.
    const HEADER: usize = size_of::<usize>() + 8;
    let mut rest = control;
    while rest.len() >= HEADER + 4 {
        let length = usize::from_ne_bytes(*rest.first_chunk()?);
        let number = |at: usize| Some(i32::from_ne_bytes(*rest[at..].first_chunk()?));
        if (number(HEADER - 8)?, number(HEADER - 4)?) == (libc::SOL_SOCKET, libc::SO_MARK) {
            return number(HEADER).map(i32::cast_unsigned);
        }
        rest = rest.get(length.next_multiple_of(size_of::<usize>())..)?;
    }
    None
}

/// The record of a ticket, by `getsockopt`.
fn by_ticket(socket: &UdpSocket, ticket: u32) -> Result<Option<Record>, String> {
    let ticket = ticket.cast_signed();
    match get(socket, abi::SOL_PKTMETA_DGRAM, ticket) {
        Ok(bytes) => Record::parse(&bytes)
            .map(Some)
            .map_err(|error| format!("{error:?}")),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The seed that programs took from the sequence number of a connection's SYN.
fn syn_seed(server: &TcpStream) -> Result<u64> {
    let syn = get(server, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN)?;
    let ip = match syn.first().map(|byte| byte >> 4) {
        Some(4) => usize::from(syn[0] & 0xf) * 4,
        _ => 40,
    };
    let sequence = syn.get(ip + 4..).and_then(|rest| rest.first_chunk());
    let sequence = sequence.context("the SYN that was saved is too short")?;
    Ok(mix(u32::from_ne_bytes(*sequence).into()))
}

fn set(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option's value is an int, of the size that is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn get(socket: &impl AsRawFd, level: i32, name: i32) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 256];
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    value.truncate(length as usize);
    Ok(value)
}
