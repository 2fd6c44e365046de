//! The sockets of this host and what the datapath keeps for them.

use crate::{
    datapath::Datapath,
    endpoints::Endpoints,
    error::{Context, Error, ErrorKind},
    hooks::iter::{HOOK, OPEN, STORED},
    host,
    object::{Object, ObjectOptions},
    stores::{self, Store},
    sys,
};
use pktmeta_core::{Record, abi};
use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A TCP or UDP socket, and what the datapath keeps for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStatus {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its state, as RFC 9293 calls it; of UDP established or unconnected.
    pub state: &'static str,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end; all zeros if it is not connected.
    pub peer: SocketAddr,
    /// The processes that have it open; none for a connection that was not accepted yet, or whose
    /// process closed it.
    pub processes: Vec<Process>,
    /// User id of its owner.
    pub uid: u32,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its cgroup; `None` if that is gone, or not below the mounted one.
    pub cgroup: Option<PathBuf>,
    /// The kernel's number of it, `SO_COOKIE`.
    pub cookie: u64,
    /// TCP: record of the segment that opened the connection.
    pub opening: Option<Record>,
    /// TCP: the latest record that arrived.
    pub latest: Option<Record>,
    /// UDP: the carrier of its datagrams' tickets; `None` if it did not ask for any.
    pub carrier: Option<Carrier>,
    /// The record of everything that it sends, but for datagrams with one of their own; of a
    /// listener, the record that accepted connections start with.
    pub sent: Option<Record>,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its number, in the pid namespace of the caller.
    pub pid: u32,
    /// Name of the thread that the kernel found it by, at most 15 bytes, which the process chooses.
    pub command: OsString,
    /// Its descriptor of the socket.
    pub fd: u32,
}

/// The protocols of sockets that have records.
///
/// Exhaustive: each protocol has its own programs, traits and options on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    fn parse(number: u8) -> Option<Self> {
        match i32::from(number) {
            libc::IPPROTO_TCP => Some(Self::Tcp),
            libc::IPPROTO_UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The property of datagrams that carries their tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carrier {
    /// The mark.
    Mark,
    /// The priority.
    Priority,
    /// The time of arrival.
    Timestamp,
}

impl Carrier {
    fn parse(number: u8) -> Option<Self> {
        match i32::from(number) {
            abi::PKTMETA_TICKETS_MARK => Some(Self::Mark),
            abi::PKTMETA_TICKETS_PRIORITY => Some(Self::Priority),
            abi::PKTMETA_TICKETS_TIMESTAMP => Some(Self::Timestamp),
            _ => None,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mark => "mark",
            Self::Priority => "priority",
            Self::Timestamp => "timestamp",
        })
    }
}

/// Which sockets to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketScope {
    /// Those for which the datapath keeps something, in every network namespace.
    Stored,
    /// Those, and all others that a process in the caller's pid namespace has open.
    All,
}

impl Datapath {
    /// The sockets of all network namespaces, ordered by protocol and address. Kernel 5.10.
    ///
    /// # Errors
    /// Nothing is up, or the kernel refuses.
    pub fn sockets(&self, scope: SocketScope) -> Result<Vec<SocketStatus>, Error> {
        let tried = || "list sockets".to_owned();
        host::check_capabilities()?;
        let down = || {
            Error::new(
                ErrorKind::NotFound,
                tried(),
                "nothing is up, so that no socket has records",
            )
            .with_remedy("`pktmeta up --iface IF` starts it")
        };
        let pins = self.pins()?.ok_or_else(down)?;
        let maps = pins.maps()?.ok_or_else(down)?;
        let options = ObjectOptions {
            globals: vec![("list_all", vec![u8::from(scope == SocketScope::All)])],
            pins: (HOOK
                .stores
                .iter()
                .map(|it| (it.map, maps.path_by_fd(it.pin))))
            .collect(),
            ..Default::default()
        };
        let object = Object::load(HOOK.name, HOOK.object, &options)?;
        let mut list = List::new();
        for store in SHOWN {
            let map = maps.open_map(store.pin)?;
            list.read(object.program(STORED)?, Some(map.as_fd()))?;
        }
        list.read(object.program(OPEN)?, None)?;
        Ok(list.sorted())
    }
}

/// The socket storage that is shown.
const SHOWN: [Store; 3] = [stores::CONNECTIONS, stores::TICKETS, stores::SENT];

/// The sockets that the iterators have shown so far.
struct List {
    sockets: HashMap<u64, SocketStatus>,
    cgroups: HashMap<u64, PathBuf>,
}

impl List {
    fn new() -> Self {
        Self {
            sockets: HashMap::new(),
            cgroups: host::Cgroups::all().by_id,
        }
    }

    fn read(&mut self, program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let tried = || "list sockets".into();
        let mut written = Vec::new();
        let mut rows: File = sys::iterate(program, map).context(tried)?;
        // EAGAIN says that very many were looked at without one to show (bpf_seq_read).
        while let Err(error) = rows.read_to_end(&mut written) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error).context(tried);
            }
        }
        let mut rest = &written[..];
        while !rest.is_empty() {
            let shown = Shown::next(&mut rest).ok_or_else(|| {
                Error::new(ErrorKind::Refused, tried(), "the kernel gave half a socket")
            })?;
            self.add(&shown);
        }
        Ok(())
    }

    fn add(&mut self, shown: &Shown<'_>) {
        let row = &shown.row;
        let Some(protocol) = Protocol::parse(row.protocol) else {
            return;
        };
        let socket = self.sockets.entry(row.cookie).or_insert_with(|| {
            let (local, peer) = row.ends.addresses();
            SocketStatus {
                protocol,
                state: state(protocol, row.state),
                local,
                peer,
                processes: Vec::new(),
                uid: row.uid,
                netns: row.netns.into(),
                cgroup: self.cgroups.get(&row.cgroup).cloned(),
                cookie: row.cookie,
                opening: Record::parse(shown.opening).ok(),
                latest: Record::parse(shown.latest).ok(),
                carrier: Carrier::parse(row.tickets),
                sent: Record::parse(shown.sent).ok(),
            }
        });
        socket.processes.extend(row.process());
    }

    fn sorted(self) -> Vec<SocketStatus> {
        let mut sockets: Vec<_> = self.sockets.into_values().collect();
        sockets.sort_by_key(|socket| {
            let is_listener = socket.state == "listen";
            let SocketStatus {
                protocol,
                netns,
                local,
                peer,
                cookie,
                ..
            } = *socket;
            (protocol, netns, !is_listener, local, peer, cookie)
        });
        sockets
    }
}

/// `struct pktmeta_socket`. The records follow, each of the length given here.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Row {
    cookie: u64,
    cgroup: u64,
    netns: u32,
    uid: u32,
    pid: u32,
    fd: u32,
    comm: [u8; 16],
    ends: Endpoints,
    protocol: u8,
    state: u8,
    tickets: u8,
    opening_length: u8,
    latest_length: u8,
    sent_length: u8,
    reserved: [u8; 6],
}

impl Row {
    fn process(&self) -> Option<Process> {
        (self.pid != 0).then(|| Process {
            pid: self.pid,
            command: text(&self.comm),
            fd: self.fd,
        })
    }
}

/// The bytes that an iterator wrote for a socket.
struct Shown<'a> {
    row: Row,
    opening: &'a [u8],
    latest: &'a [u8],
    sent: &'a [u8],
}

impl<'a> Shown<'a> {
    /// Takes the next one from `rest`; `None` if that is not a whole one.
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        let (row, behind) = Row::read_from_prefix(rest).ok()?;
        *rest = behind;
        let mut record = |length| rest.split_off(..usize::from(length));
        Some(Self {
            opening: record(row.opening_length)?,
            latest: record(row.latest_length)?,
            sent: record(row.sent_length)?,
            row,
        })
    }
}

/// From include/net/tcp_states.h, whose numbers UDP sockets have too.
fn state(protocol: Protocol, number: u8) -> &'static str {
    match (protocol, number) {
        (_, 1) => "established",
        (Protocol::Udp, _) => "unconnected",
        (_, 2) => "syn-sent",
        (_, 3 | 12) => "syn-received",
        (_, 4) => "fin-wait-1",
        (_, 5) => "fin-wait-2",
        (_, 6) => "time-wait",
        (_, 7) => "closed",
        (_, 8) => "close-wait",
        (_, 9) => "last-ack",
        (_, 10) => "listen",
        (_, 11) => "closing",
        _ => "unknown",
    }
}

fn text(padded: &[u8]) -> OsString {
    let end = padded.iter().position(|&byte| byte == 0);
    OsString::from_vec(padded[..end.unwrap_or(padded.len())].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures;
    use std::mem::offset_of;

    #[test]
    fn a_socket_is_read_as_the_programs_write_it() {
        structures::check(
            "hooks/iter/iter.h",
            "pktmeta_socket",
            size_of::<Row>(),
            &[
                ("cookie", offset_of!(Row, cookie)),
                ("cgroup", offset_of!(Row, cgroup)),
                ("netns", offset_of!(Row, netns)),
                ("uid", offset_of!(Row, uid)),
                ("pid", offset_of!(Row, pid)),
                ("fd", offset_of!(Row, fd)),
                ("comm", offset_of!(Row, comm)),
                ("ends", offset_of!(Row, ends)),
                ("protocol", offset_of!(Row, protocol)),
                ("state", offset_of!(Row, state)),
                ("tickets", offset_of!(Row, tickets)),
                ("opening_length", offset_of!(Row, opening_length)),
                ("latest_length", offset_of!(Row, latest_length)),
                ("sent_length", offset_of!(Row, sent_length)),
            ],
        );
    }
}
