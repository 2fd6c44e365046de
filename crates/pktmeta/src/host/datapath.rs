//! What this process knows of the host's datapath: one snapshot for all of its sockets.
//!
//! The sockets of a process belong to one datapath at a time. A datapath that is replaced closes
//! its mapped ring; a process that cannot map the ring asks the datapath for its identity instead.

use super::{fields::Fields, options, ring::Ring};
use crate::{
    PacketMeta,
    backend::Backend,
    carrier::Carrier,
    error::{Error, Reason},
    net::sockopt,
};
use pktmeta_core::{Record, RecordError, Registry, abi::Info};
use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

/// Maximum age of cached state that only a system call can verify, and the shortest time between
/// two questions for new fields.
const STALE: Duration = Duration::from_secs(1);

/// The record that a TCP socket answers with.
pub(crate) fn segment(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<PacketMeta, Error> {
    let mut datapath = current(socket)?;
    let mut record = options::record(socket, level, name)?;
    if !datapath.answered(socket)? {
        // It was replaced before it answered: the record's numbers are another's.
        drop(datapath);
        refresh(socket)?;
        datapath = current(socket)?;
        record = options::record(socket, level, name)?;
        if !datapath.answered(socket)? {
            return Err(Reason::Closed.into());
        }
    }
    let registry = match datapath.names_of(record.as_ref()) {
        Ok(registry) => registry,
        Err(old) => {
            drop(datapath);
            old.learn_fields(socket)
        }
    };
    Ok(PacketMeta::new(record, registry))
}

/// The fields of a socket's host, as they are now.
pub(crate) fn registry(socket: BorrowedFd<'_>) -> Result<&'static Registry, Error> {
    recognize(socket)?;
    Ok(current(socket)?.fields.registry())
}

/// Runs `act` with the datapath's instance and the numbers of its fields; refreshes both and runs
/// it again if they are stale.
pub(crate) fn by_numbers<T>(
    socket: BorrowedFd<'_>,
    mut act: impl FnMut(u32, &Registry) -> Result<T, Error>,
) -> Result<T, Error> {
    let datapath = current(socket)?;
    let acted = act(datapath.info.instance, datapath.fields.registry());
    let old = match &acted {
        Ok(_) => !datapath.answered(socket)?,
        Err(Error::Record(RecordError::Unregistered { .. } | RecordError::Kind { .. })) => {
            datapath.info != options::info(socket)?
        }
        Err(_) => false,
    };
    if !old {
        return acted;
    }
    drop(datapath);
    refresh(socket)?;
    let datapath = current(socket)?;
    let acted = act(datapath.info.instance, datapath.fields.registry());
    if acted.is_ok() && !datapath.answered(socket)? {
        return Err(Reason::Closed.into());
    }
    acted
}

pub(crate) type Guard = RwLockReadGuard<'static, Datapath>;

/// A datapath as it described itself.
pub(crate) struct Datapath {
    info: Info,
    fields: Fields,
    /// Missing where this process may not open it.
    ring: Option<Ring>,
    /// UDP sockets whose datagrams have tickets of this datapath.
    sockets: BTreeMap<RawFd, Socket>,
    /// When all this was learnt; `None` of no datapath.
    learnt: Option<Instant>,
}

/// A UDP socket that has tickets.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// Descriptors are used again, cookies are not.
    pub(crate) cookie: u64,
    pub(crate) carrier: Carrier,
}

impl Datapath {
    pub(crate) const NONE: Self = Self {
        info: Info::NONE,
        fields: Fields::NONE,
        ring: None,
        sockets: BTreeMap::new(),
        learnt: None,
    };

    /// Learns all there is to know from a socket.
    fn learn(socket: BorrowedFd<'_>) -> Result<Self, Error> {
        let info = options::info(socket)?;
        let fields = Fields::ask(socket)?;
        if options::info(socket)? != info {
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

    /// True if it is known to be down.
    fn is_closed(&self) -> bool {
        self.ring.as_ref().is_some_and(Ring::is_closed)
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
            None => Ok(self.is(&options::info(socket)?)),
        }
    }

    pub(crate) fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }

    /// What is known of a socket; it may have been another's descriptor.
    pub(crate) fn socket(&self, socket: BorrowedFd<'_>) -> Option<Socket> {
        self.sockets.get(&socket.as_raw_fd()).copied()
    }

    /// True if `info` describes this datapath, whose fields may have changed since.
    fn is(&self, info: &Info) -> bool {
        let identity = |info: &Info| (info.version, info.instance, info.cgroup);
        identity(&self.info) == identity(info)
    }

    /// The registry with the names of a record's fields; an error if the record may have a field
    /// that was registered since.
    pub(crate) fn names_of(&self, record: Option<&Record>) -> Result<&'static Registry, Old> {
        let registry = self.fields.registry();
        match record {
            Some(record) if self.lacks_fields_of(record) => Err(Old {
                info: self.info,
                registry,
            }),
            _ => Ok(registry),
        }
    }

    /// True if a record may have a field that was registered since.
    fn lacks_fields_of(&self, record: &Record) -> bool {
        record.iter().any(|(tag, _)| !self.fields.know(tag))
            && self.learnt.is_none_or(|learnt| learnt.elapsed() >= STALE)
    }
}

/// The datapath that this process knows, learnt again if it may have been replaced.
pub(crate) fn current(socket: BorrowedFd<'_>) -> Result<Guard, Error> {
    let datapath = read(socket);
    if datapath.is_current() {
        return Ok(datapath);
    }
    drop(datapath);
    refresh(socket)?;
    let datapath = read(socket);
    if !datapath.is_current() {
        return Err(Reason::Closed.into());
    }
    Ok(datapath)
}

/// Makes the datapath of `socket` the one that this process knows.
fn refresh(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let learnt = options::info(socket).and_then(|info| {
        let known = read(socket);
        // A datapath that is being taken down is not worth learning.
        let going = known.is_closed() && known.is(&info);
        drop(known);
        if going {
            return Err(Reason::Closed.into());
        }
        Datapath::learn(socket)
    });
    let mut current = write(socket);
    match learnt {
        Ok(mut datapath) => {
            if datapath.is(&current.info) {
                datapath.sockets = std::mem::take(&mut current.sockets);
            }
            *current = datapath;
            Ok(())
        }
        Err(error) => {
            if current.is_closed() {
                *current = Datapath::NONE; // gives the ring's memory back
            }
            Err(error)
        }
    }
}

/// Learns where the tickets of a socket are that was enabled by another process, with another
/// descriptor, or with a datapath that is gone.
pub(crate) fn identify(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let carrier = options::carrier(socket)?.ok_or(Reason::NotEnabled)?;
    let info = recognize(socket)?;
    remember(socket, &info, carrier)
}

/// Asks the datapath of `socket` who it is, and makes it the one that this process knows.
pub(crate) fn recognize(socket: BorrowedFd<'_>) -> Result<Info, Error> {
    let info = options::info(socket)?;
    let known = read(socket).info == info;
    if !known {
        refresh(socket)?;
    }
    Ok(info)
}

pub(crate) fn remember(socket: BorrowedFd<'_>, info: &Info, carrier: Carrier) -> Result<(), Error> {
    let cookie = sockopt::cookie(socket).map_err(Error::io("read the socket's SO_COOKIE"))?;
    let mut datapath = write(socket);
    if !datapath.is(info) {
        return Err(Reason::Closed.into());
    }
    let socket = socket.as_raw_fd();
    datapath.sockets.insert(socket, Socket { cookie, carrier });
    Ok(())
}

/// A datapath of which more is to be learnt: a record has a field that is not known.
pub(crate) struct Old {
    info: Info,
    registry: &'static Registry,
}

impl Old {
    /// Asks for the fields again, and returns the registry with their names. No guard may be held,
    /// for this locks the datapath.
    pub(crate) fn learn_fields(self, socket: BorrowedFd<'_>) -> &'static Registry {
        // If nothing can be learnt, the record has the names that are known.
        let _ = refresh(socket);
        let datapath = read(socket);
        if datapath.is(&self.info) {
            datapath.fields.registry()
        } else {
            self.registry
        }
    }
}

fn read(socket: BorrowedFd<'_>) -> Guard {
    known(socket).read().unwrap_or_else(PoisonError::into_inner)
}

fn write(socket: BorrowedFd<'_>) -> RwLockWriteGuard<'static, Datapath> {
    known(socket)
        .write()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The snapshot of a socket's datapath.
#[inline]
fn known(socket: BorrowedFd<'_>) -> &'static RwLock<Datapath> {
    static HOST: RwLock<Datapath> = RwLock::new(Datapath::NONE);
    match Backend::of(socket).id() {
        0 => &HOST,
        other => known_of(other),
    }
}

/// The snapshot of a mock's datapath.
#[cold]
fn known_of(backend: u32) -> &'static RwLock<Datapath> {
    static OTHERS: Mutex<BTreeMap<u32, &RwLock<Datapath>>> = Mutex::new(BTreeMap::new());
    let mut others = OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || &*Box::leak(Box::new(RwLock::new(Datapath::NONE)));
    others.entry(backend).or_insert_with(new)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::ring::tests::Kernel;
    use pktmeta_core::{Field, TlvType, registry::Wanted};
    use std::{net::UdpSocket, os::fd::AsFd};

    pub(crate) const TENANT: Field<u32> = Field::new("tenant");

    /// A registry with fields "tenant" and "zone".
    pub(crate) fn registry() -> &'static Registry {
        let mut registry = Registry::new();
        for (name, kind) in [("tenant", "u32"), ("zone", "u8")] {
            let name: pktmeta_core::FieldName = name.parse().unwrap();
            let wanted = Wanted::new(name, name, kind.parse().unwrap());
            registry.register(&wanted).unwrap();
        }
        Fields::new(registry).registry()
    }

    /// A datapath that knows `socket`, and the kernel behind its ring.
    pub(crate) fn datapath(socket: &UdpSocket) -> (Datapath, Kernel) {
        let (ring, kernel) = Kernel::new(8);
        let mut datapath = Datapath {
            info: kernel.info,
            fields: Fields::new(registry().clone()),
            ring: Some(ring),
            learnt: Some(Instant::now()),
            ..Datapath::NONE
        };
        let known = Socket {
            cookie: sockopt::cookie(socket.as_fd()).unwrap(),
            carrier: Carrier::Mark,
        };
        datapath.sockets.insert(socket.as_raw_fd(), known);
        (datapath, kernel)
    }

    pub(crate) fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    pub(crate) fn tenant(value: u32) -> Record {
        let mut record = Record::new();
        let tlv = registry().by_name("tenant").unwrap().tlv;
        record.set_value(tlv, &value).unwrap();
        record
    }

    #[test]
    fn a_closed_datapath_is_not_current() {
        let (datapath, kernel) = datapath(&socket());
        assert!(datapath.is_current() && !datapath.is_closed());
        kernel.close();
        assert!(!datapath.is_current() && datapath.is_closed());
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
