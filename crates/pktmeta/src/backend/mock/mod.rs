//! A datapath for tests: no root, no BPF, no network but loopback.
//!
//! ```
//! use pktmeta::{Field, TcpMeta, mock::{self, Label}};
//! use std::net::{TcpListener, TcpStream};
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let _datapath = mock::Datapath::new()
//!     .field(TENANT)
//!     .label(|packet| match packet.from.ip().is_loopback() {
//!         true => Label::of(TENANT.with(7)),
//!         false => Label::Absent,
//!     })
//!     .install_on(&listener)?;
//!
//! let _client = TcpStream::connect(listener.local_addr()?)?;
//! let (server, _) = listener.accept()?;
//! assert_eq!(server.opening_meta()?.get(TENANT), Some(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It answers the socket options of `docs/abi.md` in this process, so that all of this crate works
//! with it but the mapped ring. Sockets that have no mock have the kernel's datapath, if there is
//! one.

mod answers;
mod state;

use crate::{PacketMeta, meta, net::sockopt};
use pktmeta_core::{Field, FieldName, FieldType, Registry, ToRecord, registry::Wanted};
use state::Sockets;
use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
};

/// A datapath to be installed: which fields it has, and how it labels what arrives.
#[must_use = "it does nothing before it is installed"]
pub struct Datapath {
    registry: Registry,
    label: Labeller,
}

type Labeller = Box<dyn Fn(&Packet<'_>) -> Label + Send + Sync>;

/// A packet that the mock labels, at the moment when the application asks for its metadata.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// Which packet it is.
    pub kind: PacketKind<'a>,
    /// Who sent it; unspecified if it was given to
    /// [`UdpMeta::control_meta`](crate::UdpMeta::control_meta).
    pub from: SocketAddr,
    /// The socket's own address.
    pub to: SocketAddr,
}

/// Which packet of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketKind<'a> {
    /// The segment that opened the connection.
    Opening,
    /// The latest segment of the connection.
    Latest,
    /// The segment with the byte at this position, its low 32 bits.
    Byte(u32),
    /// A datagram with this payload.
    Datagram(&'a [u8]),
}

/// What the mock says of a packet.
#[non_exhaustive]
pub enum Label {
    /// It has a record with these values. The mock panics if the datapath lacks one of the fields.
    Record(Box<dyn ToRecord>),
    /// It has no record.
    Absent,
    /// It had one, but that is lost: [`Error::Overrun`](crate::Error::Overrun) of a datagram,
    /// [`Error::Forgotten`](crate::Error::Forgotten) of a byte.
    Lost,
    /// The byte is still to come: [`Error::NotArrived`](crate::Error::NotArrived).
    NotArrived,
}

impl Label {
    /// A record with these values.
    #[must_use]
    pub fn of(values: impl ToRecord + 'static) -> Self {
        Self::Record(Box::new(values))
    }
}

impl Datapath {
    /// A datapath without fields, which labels nothing.
    pub fn new() -> Self {
        Self {
            registry: Registry::new(),
            label: Box::new(|_| Label::Absent),
        }
    }

    /// Adds a field that programs write.
    ///
    /// # Panics
    /// If the datapath has a field of that name and another type, or the name is not valid.
    pub fn field<T: FieldType>(self, field: Field<T>) -> Self {
        self.register(field, false)
    }

    /// Adds a field that applications may write too.
    ///
    /// # Panics
    /// As [`Datapath::field`].
    pub fn app_field<T: FieldType>(self, field: Field<T>) -> Self {
        self.register(field, true)
    }

    /// Sets the function that labels arriving packets.
    pub fn label(mut self, label: impl Fn(&Packet<'_>) -> Label + Send + Sync + 'static) -> Self {
        self.label = Box::new(label);
        self
    }

    /// Makes it the datapath of one socket, and of the sockets with the same local address: the
    /// connections that a listener accepts. Tests that use this can run at the same time.
    ///
    /// # Errors
    /// This is not a TCP or UDP socket.
    pub fn install_on(self, socket: impl AsFd) -> io::Result<Installed> {
        let socket = socket.as_fd();
        let scope = Scope::Socket {
            cookie: sockopt::cookie(socket)?,
            local: sockopt::local_address(socket)?,
        };
        let mut installed = installed();
        Ok(self.enter(&mut installed, scope))
    }

    /// Makes it the datapath of all sockets of the process that have none of their own, for a
    /// server that makes its sockets itself. Waits until the one before, if any, is dropped.
    #[must_use = "it is gone when this is dropped"]
    pub fn install(self) -> Installed {
        let taken = |installed: &mut Vec<_>| {
            let mut entries = installed.iter();
            entries.any(|entry: &Entry| entry.scope == Scope::Process)
        };
        let installed = installed();
        let mut installed = GONE
            .wait_while(installed, taken)
            .unwrap_or_else(PoisonError::into_inner);
        self.enter(&mut installed, Scope::Process)
    }

    fn register<T: FieldType>(mut self, field: Field<T>, app: bool) -> Self {
        let name: FieldName = field.name().parse().expect("a name of a field");
        let owner = "mock".parse().expect("a name of an owner");
        let mut wanted = Wanted::new(name, owner, T::KIND);
        wanted.policy.writers.xdp = true;
        wanted.policy.writers.tc = true;
        wanted.policy.writers.app = app;
        if let Err(error) = self.registry.register(&wanted) {
            panic!("mock field {name}: {error}");
        }
        self
    }

    fn enter(self, installed: &mut Vec<Entry>, scope: Scope) -> Installed {
        static INSTANCES: AtomicU32 = AtomicU32::new(1);
        let shared = Arc::new(Shared {
            instance: INSTANCES.fetch_add(1, Relaxed),
            registry: meta::intern(self.registry),
            label: self.label,
            sockets: Mutex::default(),
            sent: Mutex::default(),
        });
        installed.push(Entry {
            scope,
            shared: Arc::clone(&shared),
        });
        COUNT.store(installed.len(), SeqCst);
        Installed { shared }
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Self::new()
    }
}

/// A mock datapath at work. It is gone when this is dropped.
pub struct Installed {
    shared: Arc<Shared>,
}

/// A datagram that a [`MetaSender`](crate::MetaSender) sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// Where to.
    pub to: SocketAddr,
    /// Its record: its own, or else what [`SendMeta`](crate::SendMeta) set for the socket.
    pub meta: PacketMeta,
}

impl Installed {
    /// The datagrams that [`MetaSender`](crate::MetaSender)s sent since the last call. For the
    /// record of a socket, see [`SendMeta::outgoing_meta`](crate::SendMeta::outgoing_meta).
    #[must_use]
    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *lock(&self.shared.sent))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let mut installed = installed();
        installed.retain(|entry| !Arc::ptr_eq(&entry.shared, &self.shared));
        COUNT.store(installed.len(), SeqCst);
        drop(installed);
        GONE.notify_all();
    }
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Datapath").field(&self.registry).finish()
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.shared.registry;
        f.debug_tuple("Installed").field(&registry).finish()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(_) => "Record",
            Self::Absent => "Absent",
            Self::Lost => "Lost",
            Self::NotArrived => "NotArrived",
        })
    }
}

/// An installed datapath.
pub(crate) struct Shared {
    /// Not 0, which is the kernel.
    instance: u32,
    registry: &'static Registry,
    label: Labeller,
    sockets: Mutex<Sockets>,
    sent: Mutex<Vec<Sent>>,
}

struct Entry {
    scope: Scope,
    shared: Arc<Shared>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Process,
    Socket { cookie: u64, local: SocketAddr },
}

static INSTALLED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// How many are installed.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Told when one is gone.
static GONE: Condvar = Condvar::new();

fn installed() -> MutexGuard<'static, Vec<Entry>> {
    lock(&INSTALLED)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mock that a socket has, if any.
#[inline]
pub(super) fn of(socket: BorrowedFd<'_>) -> Option<Arc<Shared>> {
    match COUNT.load(Relaxed) {
        0 => None,
        _ => find(socket),
    }
}

#[cold]
fn find(socket: BorrowedFd<'_>) -> Option<Arc<Shared>> {
    let installed = installed();
    let cookie = sockopt::cookie(socket).ok()?;
    let local = sockopt::local_address(socket).ok()?;
    let is_of = |entry: &&Entry| match entry.scope {
        Scope::Process => false,
        Scope::Socket {
            cookie: its,
            local: at,
        } => its == cookie || state::is_at(at, local),
    };
    let of_process = |entry: &&Entry| entry.scope == Scope::Process;
    let mut entries = installed.iter();
    let entry = entries
        .clone()
        .find(is_of)
        .or_else(|| entries.find(of_process))?;
    Some(Arc::clone(&entry.shared))
}
