//! What can keep an application from a packet's metadata.

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

    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
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
            Self::Overrun => f.write_str(
                "the datagram's record was overwritten before it was read: receive sooner, or \
                 bring the datapath up with more ring slots",
            ),
            Self::Malformed(_) => f.write_str(
                "the packet's record is damaged: find the program that writes it with \
                 `pktmeta doctor`",
            ),
            Self::Forgotten => write!(
                f,
                "the record of this byte is not known: ask sooner, while it is among the latest {} \
                 segments, and call remember_segments() before it arrives, best on the listener",
                abi::HISTORY_SEGMENTS
            ),
            Self::NotArrived => {
                f.write_str("no segment with this byte has arrived yet: read up to it first")
            }
            Self::Record(_) => f.write_str("the values do not become a record on this host"),
            Self::NoRoom => write!(
                f,
                "the record of what the socket sends would be longer than {} bytes: delete a field \
                 first",
                Record::CAPACITY
            ),
            Self::NotPermitted { field: Some(field) } => write!(
                f,
                "applications must not set {field}: its schema's `writers` lacks \"app\"; add it and \
                 register the schema again"
            ),
            Self::NotPermitted { field: None } => f.write_str(
                "this user must not set what its sockets send, or the field was removed meanwhile: \
                 ask whoever started the datapath",
            ),
            Self::NoMemory => f.write_str(
                "the kernel has no memory left for this socket: raise the sysctl net.core.optmem_max",
            ),
            Self::NotKept => f.write_str(
                "whether this packet had a record is not known: its SYN came before the datapath or was \
                 pushed out by others (`pktmeta status` counts syns_unknown), or there was no memory to \
                 keep it (unkept: raise the sysctl net.core.optmem_max)",
            ),
            Self::Io { what, .. } => write!(f, "cannot {what}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDatapath => f.write_str(
                "no pktmeta datapath answers on this socket: run `pktmeta up --iface ...` with a \
                 --cgroup that contains the one in which the socket was made: a service that was \
                 restarted has a new one, a socket of socket activation is its socket unit's, and \
                 no datapath answers a 32-bit program",
            ),
            Self::Closed => f.write_str(
                "the pktmeta datapath of this socket is being taken down: run `pktmeta up`, then \
                 enable the socket again",
            ),
            Self::Version(theirs) => write!(
                f,
                "the pktmeta datapath of this host speaks ABI version {theirs}, this application \
                 {}: upgrade the older of the two",
                abi::VERSION
            ),
            Self::NotEnabled => f.write_str(
                "this socket is not enabled for packet metadata: call enable_packet_meta() before \
                 datagrams arrive, and again when the datapath was restarted",
            ),
            Self::WrongSocket => f.write_str(
                "the socket is of the wrong type: TcpMeta is for TCP sockets, UdpMeta for UDP \
                 sockets",
            ),
            Self::MultipathTcp => f.write_str(
                "the socket is one of Multipath TCP, which has no packet metadata: make it with \
                 IPPROTO_TCP",
            ),
            Self::NoTickets => f.write_str(
                "the kernel does not let this process receive tickets in that carrier: \
                 enable_packet_meta() takes one that it may have",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        for (error, remedy) in [
            (Error::from(Reason::NoDatapath), "`pktmeta up"),
            (Reason::Closed.into(), "`pktmeta up"),
            (Reason::Version(7).into(), "upgrade"),
            (Reason::NotEnabled.into(), "enable_packet_meta()"),
            (Reason::WrongSocket.into(), "UdpMeta for UDP"),
            (Reason::NoTickets.into(), "enable_packet_meta()"),
            (Reason::MultipathTcp.into(), "IPPROTO_TCP"),
            (Error::Overrun, "more ring slots"),
            (Error::Forgotten, "remember_segments()"),
            (Error::NotArrived, "read up to it"),
            (Error::NoRoom, "delete a field"),
            (Error::NotPermitted { field: None }, "started the datapath"),
            (
                Error::NotPermitted {
                    field: "tenant".parse().ok(),
                },
                "set tenant: its schema's `writers` lacks \"app\"",
            ),
            (Error::NoMemory, "net.core.optmem_max"),
            (Error::NotKept, "raise the sysctl"),
        ] {
            assert!(error.to_string().contains(remedy), "{error}");
            assert_eq!(error.clone().to_string(), error.to_string());
        }
    }

    #[test]
    fn a_clone_keeps_the_error_number() {
        let source = io::Error::from_raw_os_error(libc::EBADF);
        let error = Error::io("ask")(source).clone();
        assert!(
            matches!(error, Error::Io { what: "ask", source } if source.raw_os_error() == Some(libc::EBADF))
        );
    }
}
