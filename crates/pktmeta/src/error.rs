//! Why an application does not get, or cannot set, a packet's metadata.

use pktmeta_core::{FieldName, Record, RecordError, abi, record::ParseError};
use std::{fmt, io};

/// Why there is no metadata to return, or none was set.
///
/// That a packet had *no* record is not an error: see [`crate::PacketMeta::is_absent`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nothing on this host gives this socket metadata, for now.
    Unavailable(Reason),
    /// The datagram had a record, but later datagrams took its place before it was read.
    Overrun,
    /// The record of this byte is no longer known, or never was: the connection did not
    /// [remember](crate::TcpMeta::remember_segments) segments when it arrived.
    Forgotten,
    /// No segment with this byte has arrived yet.
    NotArrived,
    /// A record was there, but its bytes are damaged.
    Malformed(ParseError),
    /// The values do not become a record on this host.
    Record(RecordError),
    /// The field does not fit beside those that are set already.
    NoRoom,
    /// Applications must not set this.
    NotPermitted {
        /// The field whose schema does not let applications write it; `None` if it is this user who
        /// must not, or a field that is gone meanwhile.
        field: Option<FieldName>,
    },
    /// The kernel gives the socket no memory for what it should remember.
    NoMemory,
    /// Whether this packet of the connection had a record is not known: there was no memory to keep
    /// it, or the SYN came before the datapath or was pushed out by those of others.
    NotKept,
    /// The kernel refused something that should have worked.
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why metadata is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No datapath is attached to the cgroup in which the socket was made.
    NoDatapath,
    /// The datapath is being taken down.
    Closed,
    /// The datapath speaks another version of the ABI, this one.
    Version(u32),
    /// The socket is not enabled for metadata, or not with the datapath that is there now.
    NotEnabled,
    /// The socket is of a type that this operation is not for.
    WrongSocket,
    /// The socket is one of Multipath TCP, whose options the kernel refuses.
    MultipathTcp,
    /// The wanted way to hand tickets to this process is not open to it:
    /// [`Carrier`](crate::Carrier) says what each needs.
    NoTickets,
}

impl Error {
    /// True if the cause is `reason`.
    #[must_use]
    pub fn is_unavailable(&self, reason: Reason) -> bool {
        matches!(self, Self::Unavailable(found) if *found == reason)
    }

    /// What to do about it; `None` if only the [source](std::error::Error::source) can tell.
    ///
    /// It is not part of the message: a log of a server says what happened. Who has to act wants
    /// both, which is what `{error:#}` prints.
    ///
    /// ```
    /// use pktmeta::{Error, Reason};
    ///
    /// let error = Error::Unavailable(Reason::NoDatapath);
    /// assert_eq!(error.to_string(), "no pktmeta datapath answers on this socket");
    /// let remedy = error.remedy().unwrap_or_default();
    /// assert!(remedy.starts_with("run `pktmeta up"));
    /// assert_eq!(format!("{error:#}"), format!("{error}; {remedy}"));
    /// ```
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unavailable(reason) => reason.remedy(),
            Self::Overrun => "receive sooner, or bring the datapath up with more ring slots",
            Self::Malformed(_) => "find the program that writes it with `pktmeta doctor`",
            Self::Forgotten => {
                "ask sooner, and call remember_segments() before the byte arrives, best on the \
                 listener"
            }
            Self::NotArrived => "read up to it first",
            Self::Record(error) => error.remedy(),
            Self::NoRoom => "delete a field first",
            Self::NotPermitted { field: Some(_) } => {
                "add \"app\" to the field's `writers`, and register the schema again"
            }
            Self::NotPermitted { field: None } => "ask whoever started the datapath",
            Self::NoMemory => "raise the sysctl net.core.optmem_max",
            Self::NotKept => {
                "see `pktmeta status`: if `unkept` counts, raise the sysctl net.core.optmem_max; \
                 `syns_unknown` counts the connections whose SYN it did not see"
            }
            Self::Io { .. } => return None,
        })
    }

    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

impl Reason {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoDatapath => {
                "run `pktmeta up --iface ...` with a --cgroup that contains the one in which the \
                 socket was made: a service that was restarted has a new one, a socket of socket \
                 activation is its socket unit's, and no datapath answers a 32-bit program"
            }
            Self::Closed => "run `pktmeta up`, then enable the socket again",
            Self::Version(_) => "upgrade the older of the two",
            Self::NotEnabled => {
                "call enable_packet_meta() before datagrams arrive, and again when the datapath \
                 was restarted"
            }
            Self::WrongSocket => "use the trait of the socket's protocol",
            Self::MultipathTcp => "make the socket with IPPROTO_TCP",
            Self::NoTickets => "call enable_packet_meta(), which takes a carrier that it may have",
        }
    }
}

impl Clone for Error {
    fn clone(&self) -> Self {
        match self {
            Self::Unavailable(reason) => Self::Unavailable(*reason),
            Self::Overrun => Self::Overrun,
            Self::Forgotten => Self::Forgotten,
            Self::NotArrived => Self::NotArrived,
            Self::Malformed(error) => Self::Malformed(*error),
            Self::Record(error) => Self::Record(*error),
            Self::NoRoom => Self::NoRoom,
            Self::NotPermitted { field } => Self::NotPermitted { field: *field },
            Self::NoMemory => Self::NoMemory,
            Self::NotKept => Self::NotKept,
            Self::Io { what, source } => Self::Io {
                what,
                source: match source.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => io::Error::new(source.kind(), source.to_string()),
                },
            },
        }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::Unavailable(reason)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Unavailable(_) => io::ErrorKind::Unsupported,
            Error::Overrun | Error::Forgotten | Error::NotArrived | Error::NotKept => {
                io::ErrorKind::NotFound
            }
            Error::Malformed(_) => io::ErrorKind::InvalidData,
            Error::Record(_) | Error::NoRoom => io::ErrorKind::InvalidInput,
            Error::NotPermitted { .. } => io::ErrorKind::PermissionDenied,
            Error::NoMemory => io::ErrorKind::OutOfMemory,
            Error::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::Record(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => reason.fmt(f),
            Self::Overrun => {
                f.write_str("the datagram's record was overwritten before it was read")
            }
            Self::Malformed(_) => f.write_str("the packet's record is damaged"),
            Self::Forgotten => write!(
                f,
                "the record of this byte is not known: it is not among the latest {} segments, or \
                 the connection did not remember segments when it arrived",
                abi::HISTORY_SEGMENTS
            ),
            Self::NotArrived => f.write_str("no segment with this byte has arrived yet"),
            Self::Record(_) => f.write_str("the values do not become a record on this host"),
            Self::NoRoom => write!(
                f,
                "the record of what the socket sends would be longer than {} bytes",
                Record::CAPACITY
            ),
            Self::NotPermitted { field: Some(field) } => write!(
                f,
                "applications must not set {field}: its schema's `writers` lacks \"app\""
            ),
            Self::NotPermitted { field: None } => f.write_str(
                "this user must not set what its sockets send, or the field was removed meanwhile",
            ),
            Self::NoMemory => f.write_str("the kernel has no memory left for this socket"),
            Self::NotKept => f.write_str(
                "whether this packet had a record is not known: its SYN came before the datapath \
                 or was pushed out by others, or there was no memory to keep it",
            ),
            Self::Io { what, .. } => write!(f, "cannot {what}"),
        }?;
        match self.remedy() {
            Some(remedy) if f.alternate() => write!(f, "; {remedy}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDatapath => f.write_str("no pktmeta datapath answers on this socket"),
            Self::Closed => f.write_str("the pktmeta datapath of this socket is being taken down"),
            Self::Version(theirs) => write!(
                f,
                "the pktmeta datapath of this host speaks ABI version {theirs}, this application \
                 {}",
                abi::VERSION
            ),
            Self::NotEnabled => f.write_str("this socket is not enabled for packet metadata"),
            Self::WrongSocket => f.write_str(
                "the socket is of the wrong type: TcpMeta is for TCP sockets, UdpMeta for UDP \
                 sockets",
            ),
            Self::MultipathTcp => {
                f.write_str("the socket is one of Multipath TCP, which has no packet metadata")
            }
            Self::NoTickets => {
                f.write_str("the kernel does not let this process receive tickets in that carrier")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_happened_and_its_remedy_what_to_do() {
        let tenant = "tenant".parse().ok();
        for (error, happened, remedy) in [
            (
                Error::from(Reason::NoDatapath),
                "no pktmeta datapath",
                "`pktmeta up",
            ),
            (Reason::Closed.into(), "being taken down", "`pktmeta up"),
            (Reason::Version(7).into(), "version 7", "upgrade"),
            (
                Reason::NotEnabled.into(),
                "not enabled",
                "enable_packet_meta()",
            ),
            (
                Reason::WrongSocket.into(),
                "UdpMeta for UDP",
                "the socket's protocol",
            ),
            (
                Reason::NoTickets.into(),
                "receive tickets",
                "enable_packet_meta()",
            ),
            (Reason::MultipathTcp.into(), "Multipath", "IPPROTO_TCP"),
            (Error::Overrun, "overwritten", "more ring slots"),
            (ParseError::Length.into(), "damaged", "`pktmeta doctor`"),
            (Error::Forgotten, "32 segments", "remember_segments()"),
            (Error::NotArrived, "arrived", "read up to it"),
            (
                RecordError::NoRoom.into(),
                "a record on this host",
                "fewer fields",
            ),
            (Error::NoRoom, "216 bytes", "delete a field"),
            (
                Error::NotPermitted { field: None },
                "this user",
                "started the datapath",
            ),
            (
                Error::NotPermitted { field: tenant },
                "tenant",
                "add \"app\"",
            ),
            (Error::NoMemory, "no memory", "net.core.optmem_max"),
            (Error::NotKept, "not known", "net.core.optmem_max"),
        ] {
            let (message, cure) = (error.to_string(), error.remedy().unwrap_or_default());
            assert!(message.contains(happened), "{message}");
            assert!(cure.contains(remedy), "{cure}");
            assert!(!message.contains(cure), "{message}");
            assert_eq!(error.clone().to_string(), message);
        }
        assert_eq!(Error::io("ask")(io::ErrorKind::Other.into()).remedy(), None);
    }

    #[test]
    fn a_clone_keeps_the_error_number() {
        let source = io::Error::from_raw_os_error(libc::EBADF);
        let error = Error::io("ask")(source).clone();
        assert!(
            matches!(&error, Error::Io { what: "ask", source }
                if source.raw_os_error() == Some(libc::EBADF)),
            "{error:?}"
        );
    }
}
