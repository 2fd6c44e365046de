//! What this process knows of the host's datapath: one snapshot for all of its sockets.
//!
//! A process' sockets belong to one datapath at a time. That it was replaced is seen in the mapped
//! ring (`closed`); where the ring cannot be mapped, the datapath is asked who it is.

use crate::{
    PacketMeta,
    error::{Error, Reason},
    message::{Carrier, Tickets},
    ring::{Missed, Ring},
    sys,
};
use pktmeta_core::{
    FieldInfo, Record, Registry, Tag,
    abi::{self, Info},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

static CURRENT: RwLock<Datapath> = RwLock::new(Datapath::NONE);

/// How long what cannot be checked for free is believed, and how often what may be news to us is
/// looked up.
const STALE: Duration = Duration::from_secs(1);

/// A buffer for any answer.
const ANSWER: usize = 256;

/// Asks the datapath of a socket who it is.
pub(crate) fn info(socket: BorrowedFd<'_>) -> Result<Info, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, abi::SOL_PKTMETA, abi::PKTMETA_INFO, &mut buffer)?;
    let info = answer
        .and_then(Info::from_bytes)
        .ok_or(Reason::NoDatapath)?;
    if info.version != abi::VERSION {
        return Err(Reason::Version(info.version).into());
    }
    Ok(info)
}

/// The record that a TCP socket answers `option` with.
pub(crate) fn segment(socket: BorrowedFd<'_>, option: i32) -> Result<PacketMeta, Error> {
    let mut datapath = current(socket)?;
    let mut record = ask_record(socket, abi::SOL_PKTMETA, option)?;
    if !datapath.answered(socket)? {
        // It was replaced before it answered: the record's numbers are another's.
        drop(datapath);
        refresh(socket)?;
        datapath = current(socket)?;
        record = ask_record(socket, abi::SOL_PKTMETA, option)?;
        if !datapath.answered(socket)? {
            return Err(Reason::Closed.into());
        }
    }
    Ok(finish(socket, datapath, record).0)
}

/// Makes the datapath put tickets on a UDP socket's datagrams, and the kernel hand them over.
pub(crate) fn enable(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let info = recognize(socket)?;
    let carrier = match enabled(socket)? {
        Some(carrier) => carrier,
        None => {
            let carrier = receive_tickets(socket)?;
            tell_carrier(socket, carrier)?;
            carrier
        }
    };
    remember(socket, &info, carrier)
}

/// Reads the metadata of datagrams that one call received.
pub(crate) struct Datagrams<'s> {
    socket: BorrowedFd<'s>,
    /// Held from the first datagram that needs it.
    datapath: Option<Guard>,
}

impl<'s> Datagrams<'s> {
    pub(crate) fn of(socket: BorrowedFd<'s>) -> Self {
        Self {
            socket,
            datapath: None,
        }
    }

    /// The metadata of the datagram that came with these control messages.
    pub(crate) fn meta(&mut self, control: &[u8]) -> Result<PacketMeta, Error> {
        let tickets = Tickets::parse(control);
        if tickets.is_empty() {
            return Err(Reason::NotEnabled.into());
        }
        let mut datapath = match self.datapath.take() {
            Some(datapath) => datapath,
            None => current(self.socket)?,
        };
        let mut record = datapath.record(self.socket, tickets);
        if let Err(Unread::UnknownSocket) = record {
            drop(datapath);
            identify(self.socket)?;
            datapath = current(self.socket)?;
            record = datapath.record(self.socket, tickets);
        }
        match record {
            Ok(record) => {
                let (meta, datapath) = finish(self.socket, datapath, record);
                self.datapath = datapath;
                Ok(meta)
            }
            Err(unread) => {
                self.datapath = Some(datapath);
                Err(unread.into())
            }
        }
    }
}

type Guard = RwLockReadGuard<'static, Datapath>;

/// A datapath as it described itself.
struct Datapath {
    info: Info,
    fields: Fields,
    /// Missing where this process may not open it.
    ring: Option<Ring>,
    /// UDP sockets whose datagrams have tickets of this datapath.
    sockets: BTreeMap<RawFd, Socket>,
    /// When all this was learnt; `None` of no datapath.
    learnt: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Socket {
    /// Descriptors are used again, cookies are not.
    cookie: u64,
    carrier: Carrier,
}

/// Why a datagram's record was not read.
#[derive(Debug)]
enum Unread {
    /// Too little is known of the socket, or it is now another.
    UnknownSocket,
    Because(Error),
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Because(error) => error,
            // What looks like a ticket is of another socket, well as we know this one.
            Unread::UnknownSocket => Self::Overrun,
        }
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Because(error)
    }
}

impl Datapath {
    const NONE: Self = Self {
        info: Info {
            version: 0,
            instance: 0,
            slots: 0,
            features: 0,
            cgroup: 0,
            schema: 0,
        },
        fields: Fields::NONE,
        ring: None,
        sockets: BTreeMap::new(),
        learnt: None,
    };

    /// Learns all there is to know from a socket.
    fn learn(socket: BorrowedFd<'_>) -> Result<Self, Error> {
        let info = self::info(socket)?;
        let fields = Fields::ask(socket)?;
        if self::info(socket)? != info {
            return Err(Reason::Closed.into());
        }
        Ok(Self {
            info,
            fields,
            ring: Ring::open(&info).ok(),
            sockets: BTreeMap::new(),
            learnt: Some(Instant::now()),
        })
    }

    /// Who the datapath was that is known to be down.
    fn closed(&self) -> Option<Info> {
        let ring = self.ring.as_ref()?;
        ring.is_closed().then_some(self.info)
    }

    /// True unless the datapath may be another by now.
    fn is_current(&self) -> bool {
        match (&self.ring, self.learnt) {
            (Some(ring), _) => !ring.is_closed(),
            (None, learnt) => learnt.is_some_and(|learnt| learnt.elapsed() < STALE),
        }
    }

    /// True if the last answer on `socket` was of this datapath.
    fn answered(&self, socket: BorrowedFd<'_>) -> Result<bool, Error> {
        match &self.ring {
            Some(ring) => Ok(!ring.is_closed()),
            None => Ok(info(socket)? == self.info),
        }
    }

    /// The record of a datagram of `socket`; `None` if it had none.
    fn record(&self, socket: BorrowedFd<'_>, tickets: Tickets) -> Result<Option<Record>, Unread> {
        let known = self.sockets.get(&socket.as_raw_fd());
        let known = *known.ok_or(Unread::UnknownSocket)?;
        let read = self.record_of(known, socket, tickets);
        read.map_err(|unread| match sys::cookie(socket) {
            // The descriptor is used again: what is wrong may be what we know.
            Ok(cookie) if cookie != known.cookie => Unread::UnknownSocket,
            _ => unread,
        })
    }

    fn record_of(
        &self,
        Socket { cookie, carrier }: Socket,
        socket: BorrowedFd<'_>,
        tickets: Tickets,
    ) -> Result<Option<Record>, Unread> {
        let ticket = tickets.of(carrier).ok_or(Error::from(Reason::NotEnabled))?;
        let Some(ring) = &self.ring else {
            return Ok(ask_ticket(socket, ticket)?);
        };
        match ticket {
            NOT_LOOKED_AT => return Err(Error::from(Reason::NotEnabled).into()),
            abi::TICKET_ABSENT => return Ok(None),
            _ => {}
        }
        match ring.read(ticket, cookie) {
            Ok(bytes) => Ok(Some(Record::parse(&bytes).map_err(Error::from)?)),
            Err(Missed::Overrun) => Err(Error::Overrun.into()),
            Err(Missed::Foreign) => Err(Unread::UnknownSocket),
        }
    }

    /// True if a record may have a field that was registered since.
    fn lacks_fields_of(&self, record: &Record) -> bool {
        record.iter().any(|(tag, _)| !self.fields.knows(tag))
            && self.learnt.is_none_or(|learnt| learnt.elapsed() >= STALE)
    }
}

/// The fields of a datapath.
#[derive(Clone, Copy)]
struct Fields {
    registry: &'static Registry,
    /// A bit for each type that is registered.
    known: u64,
}

const _: () = assert!(abi::FIELDS_MAX <= u64::BITS as usize);

impl Fields {
    const NONE: Self = {
        static EMPTY: Registry = Registry::new();
        Self {
            registry: &EMPTY,
            known: 0,
        }
    };

    fn ask(socket: BorrowedFd<'_>) -> Result<Self, Error> {
        const TYPE_AT: usize = FieldInfo::SIZE - 8;
        let mut bytes = Vec::new();
        let mut known = 0;
        let mut next = 1;
        while next < abi::FIELDS_MAX {
            let mut buffer = [0; ANSWER];
            let option = abi::PKTMETA_FIELD_INFO + next as i32;
            let answer = ask(socket, abi::SOL_PKTMETA, option, &mut buffer)?;
            let Some(answer) = answer.filter(|answer| answer.len() == FieldInfo::SIZE) else {
                break;
            };
            let found = usize::from(answer[TYPE_AT]);
            if !(next..abi::FIELDS_MAX).contains(&found) {
                break;
            }
            known |= 1 << found;
            bytes.extend_from_slice(answer);
            next = found + 1;
        }
        let registry = intern(Registry::from_bytes(&bytes));
        Ok(Self { registry, known })
    }

    fn knows(&self, tag: Tag) -> bool {
        tag.tlv()
            .is_some_and(|tlv| self.known & 1 << tlv.get() != 0)
    }
}

/// Keeps a registry for good, so that every packet's metadata can refer to it at no cost. Only as
/// many are kept as this host had different ones.
fn intern(registry: Registry) -> &'static Registry {
    static KEPT: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = kept.iter().find(|kept| ***kept == registry) {
        return same;
    }
    let registry: &'static Registry = Box::leak(Box::new(registry));
    kept.push(registry);
    registry
}

/// The datapath that this process knows, known afresh if it may be another by now.
fn current(socket: BorrowedFd<'_>) -> Result<Guard, Error> {
    let datapath = read();
    if datapath.is_current() {
        return Ok(datapath);
    }
    drop(datapath);
    refresh(socket)?;
    let datapath = read();
    if !datapath.is_current() {
        return Err(Reason::Closed.into());
    }
    Ok(datapath)
}

/// Makes the datapath of `socket` the one that this process knows.
fn refresh(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let learnt = info(socket).and_then(|info| match read().closed() {
        // Not worth learning: it is about to go.
        Some(closed) if closed == info => Err(Reason::Closed.into()),
        _ => Datapath::learn(socket),
    });
    let mut current = write();
    match learnt {
        Ok(mut datapath) => {
            if datapath.info == current.info {
                datapath.sockets = std::mem::take(&mut current.sockets);
            }
            *current = datapath;
            Ok(())
        }
        Err(error) => {
            if current.closed().is_some() {
                *current = Datapath::NONE; // gives the ring's memory back
            }
            Err(error)
        }
    }
}

/// Learns where the tickets of a socket are that was enabled by another process, with another
/// descriptor, or with a datapath that is gone.
fn identify(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let carrier = ask_carrier(socket)?.ok_or(Reason::NotEnabled)?;
    let info = recognize(socket)?;
    remember(socket, &info, carrier)
}

/// Asks the datapath of `socket` who it is, and makes it the one that this process knows.
fn recognize(socket: BorrowedFd<'_>) -> Result<Info, Error> {
    let info = info(socket)?;
    let known = read().info == info;
    if !known {
        refresh(socket)?;
    }
    Ok(info)
}

fn remember(socket: BorrowedFd<'_>, info: &Info, carrier: Carrier) -> Result<(), Error> {
    let cookie = sys::cookie(socket).map_err(Error::io("read the socket's SO_COOKIE"))?;
    let mut datapath = write();
    if datapath.info != *info {
        return Err(Reason::Closed.into());
    }
    let socket = socket.as_raw_fd();
    datapath.sockets.insert(socket, Socket { cookie, carrier });
    Ok(())
}

/// Names the fields of a record that came from `datapath`, which is given back unless it had to be
/// let go.
fn finish(
    socket: BorrowedFd<'_>,
    datapath: Guard,
    record: Option<Record>,
) -> (PacketMeta, Option<Guard>) {
    let registry = datapath.fields.registry;
    if !record.is_some_and(|record| datapath.lacks_fields_of(&record)) {
        return (PacketMeta::new(record, registry), Some(datapath));
    }
    let info = datapath.info;
    drop(datapath);
    // Without news, the record is as good as what is known of its fields.
    let _ = refresh(socket);
    let datapath = read();
    let registry = if datapath.info == info {
        datapath.fields.registry
    } else {
        registry
    };
    (PacketMeta::new(record, registry), None)
}

/// The carrier of a socket that has all it needs already.
fn enabled(socket: BorrowedFd<'_>) -> Result<Option<Carrier>, Error> {
    let on = |carrier: &Carrier| {
        sys::get_number(socket, libc::SOL_SOCKET, carrier.receive_option()).is_ok_and(|on| on != 0)
    };
    Ok(ask_carrier(socket)?.filter(on))
}

/// Makes the kernel hand over a carrier, the mark if this process may have it.
fn receive_tickets(socket: BorrowedFd<'_>) -> Result<Carrier, Error> {
    for carrier in [Carrier::Mark, Carrier::Priority] {
        match sys::set_number(socket, libc::SOL_SOCKET, carrier.receive_option(), 1) {
            Ok(()) => return Ok(carrier),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOPROTOOPT)) => {
            }
            Err(error) => return Err(Error::io("receive marks (SO_RCVMARK)")(error)),
        }
    }
    Err(Reason::NoTickets.into())
}

fn tell_carrier(socket: BorrowedFd<'_>, carrier: Carrier) -> Result<(), Error> {
    sys::set_number(
        socket,
        abi::SOL_PKTMETA,
        abi::PKTMETA_TICKETS,
        carrier.option(),
    )
    .map_err(refusal)
}

fn ask_carrier(socket: BorrowedFd<'_>) -> Result<Option<Carrier>, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, abi::SOL_PKTMETA, abi::PKTMETA_TICKETS, &mut buffer)?;
    Ok(answer
        .and_then(|answer| answer.try_into().ok())
        .map(i32::from_ne_bytes)
        .and_then(Carrier::from_option))
}

fn ask_record(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<Option<Record>, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, level, name, &mut buffer)?;
    Ok(answer.map(Record::parse).transpose()?)
}

/// The record of a ticket, from the datapath; also of none, which may be from before this one.
fn ask_ticket(socket: BorrowedFd<'_>, ticket: u32) -> Result<Option<Record>, Error> {
    if ticket == NOT_LOOKED_AT {
        return Err(Reason::NotEnabled.into());
    }
    ask_record(socket, abi::SOL_PKTMETA_DGRAM, ticket as i32)
}

/// The mark or priority of a datagram that reached the socket before tickets were asked for.
const NOT_LOOKED_AT: u32 = 0;

/// What the datapath answers; `None` if it has no such thing.
fn ask<'b>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    buffer: &'b mut [u8; ANSWER],
) -> Result<Option<&'b [u8]>, Error> {
    match sys::get_option(socket, level, name, buffer) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// What a failed socket option of ours means.
fn refusal(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Reason::NoDatapath.into(),
        Some(libc::EPROTOTYPE) => Reason::WrongSocket.into(),
        Some(libc::ESTALE) => Error::Overrun,
        _ => Error::io("ask the pktmeta datapath (getsockopt or setsockopt at SOL_PKTMETA)")(error),
    }
}

fn read() -> Guard {
    CURRENT.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Datapath> {
    CURRENT.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ring::tests::Kernel;
    use pktmeta_core::{Field, Kind, TlvType, registry::Policy, registry::Wanted};
    use std::{net::UdpSocket, os::fd::AsFd};

    pub(crate) const TENANT: Field<u32> = Field::new("tenant");

    /// A registry with fields "tenant" and "zone".
    pub(crate) fn registry() -> &'static Registry {
        let mut registry = Registry::new();
        for (name, kind) in [("tenant", "u32"), ("zone", "u8")] {
            let name = pktmeta_core::FieldName::parse(name).unwrap();
            let wanted = Wanted {
                name,
                owner: name,
                kind: Kind::parse(kind).unwrap(),
                policy: Policy::default(),
            };
            registry.register(&wanted).unwrap();
        }
        intern(registry)
    }

    /// A datapath that knows `socket`, and the kernel behind its ring.
    fn datapath(socket: &UdpSocket) -> (Datapath, Kernel) {
        let (ring, kernel) = Kernel::new(8);
        let mut datapath = Datapath {
            info: kernel.info,
            fields: Fields {
                registry: registry(),
                known: 0b110,
            },
            ring: Some(ring),
            learnt: Some(Instant::now()),
            ..Datapath::NONE
        };
        let known = Socket {
            cookie: sys::cookie(socket.as_fd()).unwrap(),
            carrier: Carrier::Mark,
        };
        datapath.sockets.insert(socket.as_raw_fd(), known);
        (datapath, kernel)
    }

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn tenant(value: u32) -> Record {
        let mut record = Record::new();
        let tlv = registry().by_name("tenant").unwrap().tlv;
        record.set_value(tlv, &value).unwrap();
        record
    }

    fn tickets(level: i32, kind: i32, ticket: u32) -> Tickets {
        let mut bytes = (size_of::<usize>() + 12).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(ticket.to_ne_bytes());
        Tickets::parse(&bytes)
    }

    fn mark(ticket: u32) -> Tickets {
        tickets(libc::SOL_SOCKET, libc::SO_MARK, ticket)
    }

    #[test]
    fn a_ticket_is_its_datagrams_record() {
        let socket = socket();
        let cookie = sys::cookie(socket.as_fd()).unwrap();
        let (datapath, kernel) = datapath(&socket);
        let fd = socket.as_fd();
        kernel.write(8 + 3, cookie, tenant(7).as_bytes());
        let record = datapath.record(fd, mark(8 + 3)).unwrap();
        assert_eq!(record, Some(tenant(7)));
        assert_eq!(datapath.record(fd, mark(abi::TICKET_ABSENT)).unwrap(), None);
        assert!(matches!(
            datapath.record(fd, mark(NOT_LOOKED_AT)),
            Err(Unread::Because(Error::Unavailable(Reason::NotEnabled)))
        ));
        kernel.write(16 + 3, cookie, tenant(8).as_bytes());
        assert!(matches!(
            datapath.record(fd, mark(8 + 3)),
            Err(Unread::Because(Error::Overrun))
        ));
        kernel.write(8 + 4, cookie, &[0xff; Record::CAPACITY]);
        assert!(matches!(
            datapath.record(fd, mark(8 + 4)),
            Err(Unread::Because(Error::Malformed(_)))
        ));
    }

    #[test]
    fn another_sockets_ticket_is_never_its_record() {
        let socket = socket();
        let (datapath, kernel) = datapath(&socket);
        let cookie = sys::cookie(self::socket().as_fd()).unwrap();
        kernel.write(8 + 3, cookie, tenant(7).as_bytes());
        let read = datapath.record(socket.as_fd(), mark(8 + 3));
        assert!(matches!(read, Err(Unread::UnknownSocket)));
        let other = self::socket();
        let read = datapath.record(other.as_fd(), mark(8 + 3));
        assert!(matches!(read, Err(Unread::UnknownSocket)));
    }

    #[test]
    fn a_ticket_counts_only_in_the_carrier_of_the_socket() {
        let socket = socket();
        let (datapath, _kernel) = datapath(&socket);
        let priority = tickets(libc::SOL_SOCKET, libc::SO_PRIORITY, 0);
        assert!(matches!(
            datapath.record(socket.as_fd(), priority),
            Err(Unread::Because(Error::Unavailable(Reason::NotEnabled)))
        ));
    }

    #[test]
    fn a_closed_datapath_is_not_current() {
        let (datapath, kernel) = datapath(&socket());
        assert!(datapath.is_current() && datapath.closed().is_none());
        kernel.close();
        assert!(!datapath.is_current());
        assert_eq!(datapath.closed(), Some(kernel.info));
        assert!(!Datapath::NONE.is_current());
    }

    #[test]
    fn only_unknown_types_ask_for_news_and_not_too_often() {
        let (mut datapath, _kernel) = datapath(&socket());
        let mut news = tenant(7);
        for number in [3, 62, 63] {
            news.set_value(TlvType::new(number).unwrap(), &1u8).unwrap();
            assert!(!datapath.lacks_fields_of(&news), "just learnt");
        }
        datapath.learnt = Instant::now().checked_sub(STALE);
        assert!(datapath.lacks_fields_of(&news));
        assert!(!datapath.lacks_fields_of(&tenant(7)));
    }

    #[test]
    fn the_same_registry_is_kept_once() {
        assert!(std::ptr::eq(registry(), registry()));
    }
}
