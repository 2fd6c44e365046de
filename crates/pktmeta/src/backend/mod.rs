//! The one seam at which a test replaces the host: a backend answers the options of a socket.
//!
//! Without the feature `mock` there is only the kernel, and nothing of this is left in the program.
//! With it, a process that installs no mock pays a load of a number that is zero.

#[cfg(feature = "mock")]
pub mod mock;

use crate::{
    carrier::{Tickets, TxTicket},
    net::sockopt,
};
use std::{io, net::SocketAddr, os::fd::BorrowedFd};

/// The party that answers the options of a socket.
pub(crate) enum Backend {
    Kernel,
    #[cfg(feature = "mock")]
    Mock(std::sync::Arc<mock::Shared>),
}

impl Backend {
    /// The backend of a socket.
    #[cfg_attr(not(feature = "mock"), expect(unused_variables))]
    #[inline]
    pub(crate) fn of(socket: BorrowedFd<'_>) -> Self {
        #[cfg(feature = "mock")]
        if let Some(mock) = mock::of(socket) {
            return Self::Mock(mock);
        }
        Self::Kernel
    }

    /// A number that no other backend has: 0 is the kernel.
    #[inline]
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Kernel => 0,
            #[cfg(feature = "mock")]
            Self::Mock(mock) => mock.instance(),
        }
    }

    /// As `getsockopt`: the bytes at the front of `buffer`.
    pub(crate) fn get<'b>(
        &self,
        socket: BorrowedFd<'_>,
        level: i32,
        name: i32,
        buffer: &'b mut [u8],
    ) -> io::Result<&'b [u8]> {
        match self {
            Self::Kernel => sockopt::get_option(socket, level, name, buffer),
            #[cfg(feature = "mock")]
            Self::Mock(mock) => {
                let answer = mock.get(socket, level, name)?;
                buffer[..answer.len()].copy_from_slice(&answer);
                Ok(&buffer[..answer.len()])
            }
        }
    }

    /// As `setsockopt`.
    pub(crate) fn set(
        &self,
        socket: BorrowedFd<'_>,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> io::Result<()> {
        match self {
            Self::Kernel => sockopt::set_option(socket, level, name, value),
            #[cfg(feature = "mock")]
            Self::Mock(mock) => mock.set(socket, level, name, value),
        }
    }

    /// The tickets of a datagram that arrived with these in its control messages.
    #[cfg_attr(not(feature = "mock"), expect(unused_variables))]
    #[inline]
    pub(crate) fn arrived(
        &self,
        socket: BorrowedFd<'_>,
        tickets: Tickets,
        from: SocketAddr,
        data: &[u8],
    ) -> Tickets {
        match self {
            Self::Kernel => tickets,
            #[cfg(feature = "mock")]
            Self::Mock(mock) => mock.arrived(socket, from, data),
        }
    }

    /// Notes that a datagram was sent.
    #[cfg_attr(not(feature = "mock"), expect(unused_variables))]
    #[inline]
    pub(crate) fn sent(
        &self,
        socket: BorrowedFd<'_>,
        to: Option<SocketAddr>,
        ticket: Option<TxTicket>,
    ) {
        match self {
            Self::Kernel => {}
            #[cfg(feature = "mock")]
            Self::Mock(mock) => mock.note(socket, to, ticket),
        }
    }
}
