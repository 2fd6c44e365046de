//! Watching connections and datagrams arrive at the sockets of a cgroup.

use crate::{
    endpoints::Endpoints,
    error::{Context, Error},
    hook::Program,
    hooks::watch::HOOK,
    host,
    object::{Object, ObjectOptions},
    sys,
};
use libbpf_rs::{RingBuffer, RingBufferBuilder};
use pktmeta_core::{Record, Registry};
use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::mpsc::{self, Receiver},
    time::Duration,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Watches the sockets of a cgroup, and of the cgroups below, while it lives. Nothing changes for
/// them.
#[derive(Debug)]
pub struct Watch {
    ring: RingBuffer<'static>,
    events: Receiver<Event>,
    object: Object,
    links: Vec<OwnedFd>,
}

impl Watch {
    /// Starts watching connections, and each datagram too if `datagrams`, for records of this
    /// registry. Kernel 6.2, root.
    ///
    /// # Errors
    /// The kernel refuses a program, or somebody attached one there or above that allows no others.
    pub fn new(cgroup: &File, registry: &Registry, datagrams: bool) -> Result<Self, Error> {
        let tried = || "watch a cgroup".to_owned();
        host::check_capabilities()?;
        let options = ObjectOptions {
            registry: Some(registry),
            globals: vec![("watch_datagrams", vec![datagrams.into()])],
            ..Default::default()
        };
        let object = Object::load(HOOK.name, HOOK.object, &options)?;
        let (sender, events) = mpsc::channel();
        let map = object.map("pktmeta_watch_events")?;
        let mut ring = RingBufferBuilder::new();
        let read = move |bytes: &[u8]| {
            if let Some(event) = Event::parse(bytes) {
                // The receiver lives as long as the ring.
                let _ = sender.send(event);
            }
            0
        };
        ring.add(&map, read).context(tried)?;
        let ring = ring.build().context(tried)?;
        let attach = |program: &Program| {
            sys::link_create(
                object.program(program.name)?,
                cgroup.as_raw_fd(),
                program.attach.kernel(),
                0,
            )
            .context(|| format!("attach {}", program.name))
        };
        let links = HOOK.programs.iter().map(attach).collect::<Result<_, _>>()?;
        Ok(Self {
            ring,
            events,
            object,
            links,
        })
    }

    /// The events since the last call, in order. If they are many, the first of them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn events(&self) -> Result<impl Iterator<Item = Event> + '_, Error> {
        match self.ring.consume_raw_n(Self::BATCH) {
            error @ ..0 => {
                Err(io::Error::from_raw_os_error(-error)).context(|| "read what arrived".into())
            }
            _ => Ok(self.events.try_iter()),
        }
    }

    /// Events at a time: what comes as fast as it is read must not keep the reader for ever.
    const BATCH: usize = 4096;

    /// Ends it: what has arrived since the last call, and how many events came faster than they
    /// were read and are missing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn end(self) -> Result<(Vec<Event>, u64), Error> {
        for link in &self.links {
            // Fails where the cgroup is gone, and with it the attachment.
            let _ = sys::link_detach(link.as_fd());
        }
        let mut last = Vec::new();
        loop {
            let before = last.len();
            last.extend(self.events()?);
            if last.len() == before {
                break;
            }
        }
        let lost = self.object.counters(&HOOK)?.get(1).copied();
        Ok((last, lost.unwrap_or_default()))
    }
}

impl AsFd for Watch {
    /// Readable when something has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the fd, and the result borrows the ring.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }
}

/// Something that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, on `CLOCK_MONOTONIC`.
    pub time: Duration,
    /// Its kind.
    pub kind: EventKind,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// `SO_COOKIE` of the socket.
    pub cookie: u64,
    /// The record of the datagram, or of the segment that opened the connection.
    pub record: Option<Record>,
}

impl Event {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (told, _) = Told::read_from_prefix(bytes).ok()?;
        let (local, peer) = told.ends.addresses();
        Some(Self {
            time: Duration::from_nanos(told.time),
            kind: EventKind::parse(told.what)?,
            local,
            peer,
            cookie: told.cookie,
            record: Record::parse(told.record.get(..usize::from(told.length))?).ok(),
        })
    }
}

/// `struct pktmeta_watch_event`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Told {
    time: u64,
    cookie: u64,
    ends: Endpoints,
    what: u8,
    length: u8,
    reserved: [u8; 2],
    record: [u8; Record::CAPACITY],
}

/// The kinds of [`Event`].
///
/// Exhaustive: the programs report no other packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A TCP connection that the peer opened; it waits for `accept`.
    Accepted,
    /// A TCP connection that this host opened.
    Connected,
    /// A UDP datagram.
    Datagram,
}

impl EventKind {
    fn parse(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Accepted),
            2 => Some(Self::Connected),
            3 => Some(Self::Datagram),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures;
    use std::mem::offset_of;

    #[test]
    fn an_event_is_read_as_the_programs_write_it() {
        structures::check(
            "hooks/watch/watch.h",
            "pktmeta_watch_event",
            size_of::<Told>(),
            &[
                ("time", offset_of!(Told, time)),
                ("cookie", offset_of!(Told, cookie)),
                ("ends", offset_of!(Told, ends)),
                ("what", offset_of!(Told, what)),
                ("length", offset_of!(Told, length)),
                ("record", offset_of!(Told, record)),
            ],
        );
    }
}
