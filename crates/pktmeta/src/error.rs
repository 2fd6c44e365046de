//! What can keep an application from a packet's metadata.

use pktmeta_core::{abi, record::ParseError};
use std::{fmt, io};

/// Why there is no metadata to return.
///
/// That a packet had *no* record is not an error: see [`crate::PacketMeta::is_absent`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nothing on this host gives this socket metadata, for now.
    Unavailable(Reason),
    /// The datagram had a record, but later datagrams took its place before it was read.
    Overrun,
    /// A record was there, but its bytes are damaged.
    Malformed(ParseError),
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
    /// Neither way to hand tickets to this process is open to it: `SO_RCVMARK` needs Linux 5.19 and
    /// on some kernels a capability, `SO_RCVPRIORITY` needs Linux 6.14.
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
            Self::Malformed(error) => Self::Malformed(*error),
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

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::Unavailable(reason)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Unavailable(_) => io::ErrorKind::Unsupported,
            Error::Overrun => io::ErrorKind::NotFound,
            Error::Malformed(_) => io::ErrorKind::InvalidData,
            Error::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::Unavailable(_) | Self::Overrun => None,
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
            Self::Io { what, .. } => write!(f, "cannot {what}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDatapath => f.write_str(
                "no pktmeta datapath answers on this socket: run `pktmeta up --iface ...` with a \
                 --cgroup that contains this process",
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
            Self::NoTickets => f.write_str(
                "the kernel does not let this process receive tickets: give it CAP_NET_RAW, which \
                 some kernels want for SO_RCVMARK, or use Linux 6.14 or later (SO_RCVPRIORITY)",
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
            (Reason::NoTickets.into(), "CAP_NET_RAW"),
            (Error::Overrun, "more ring slots"),
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
