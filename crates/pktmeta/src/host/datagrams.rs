//! The metadata of datagrams: by their tickets, from the ring or from the datapath.

use super::{
    datapath::{self, Datapath, Guard, Socket},
    options,
    ring::Missed,
};
use crate::{
    PacketMeta,
    backend::Backend,
    carrier::{Carrier, Tickets},
    error::{Error, Reason},
    net::sockopt,
};
use pktmeta_core::abi;
use std::{io, net::SocketAddr, os::fd::BorrowedFd};

/// Makes the datapath put tickets on a UDP socket's datagrams, and the kernel hand them over: in
/// `wanted`, or else in what the socket has already, or else in the first carrier that this process
/// may have.
pub(crate) fn enable(socket: BorrowedFd<'_>, wanted: Option<Carrier>) -> Result<(), Error> {
    let info = datapath::recognize(socket)?;
    let enabled = enabled(socket)?.filter(|enabled| wanted.is_none_or(|wanted| wanted == *enabled));
    let carrier = match enabled {
        Some(carrier) => carrier,
        None => {
            let carrier = receive_tickets(socket, wanted)?;
            let option = carrier.option().to_ne_bytes();
            options::tell(socket, abi::SOL_PKTMETA, abi::PKTMETA_TICKETS, &option)?;
            carrier
        }
    };
    datapath::remember(socket, &info, carrier)
}

/// Reads the records of datagrams that one call received.
pub(crate) struct Records<'s> {
    socket: BorrowedFd<'s>,
    backend: Backend,
    /// Held from the first datagram that needs it.
    datapath: Option<Guard>,
}

impl<'s> Records<'s> {
    pub(crate) fn of(socket: BorrowedFd<'s>) -> Self {
        Self {
            socket,
            backend: Backend::of(socket),
            datapath: None,
        }
    }

    /// Reads the metadata of a datagram into `to`: records are large, and are copied once.
    #[inline]
    pub(crate) fn read(&mut self, inbound: Inbound<'_>, to: &mut PacketMeta) -> Result<(), Error> {
        let Inbound {
            tickets,
            from,
            data,
        } = inbound;
        let tickets = self.backend.arrived(self.socket, tickets, from, data);
        if tickets.is_empty() {
            return Err(Reason::NotEnabled.into());
        }
        let mut read = self.read_known(&tickets, to);
        if let Err(Unread::UnknownSocket) = read {
            self.datapath = None;
            datapath::identify(self.socket)?;
            read = self.read_known(&tickets, to);
        }
        Ok(read?)
    }

    /// Reads it, if enough is known of the socket.
    fn read_known(&mut self, tickets: &Tickets, to: &mut PacketMeta) -> Result<(), Unread> {
        let datapath = match &self.datapath {
            Some(datapath) => datapath,
            None => self.datapath.insert(datapath::current(self.socket)?),
        };
        datapath.read(self.socket, tickets, to)?;
        to.registry = match datapath.names_of(to.record.as_ref()) {
            Ok(registry) => registry,
            Err(old) => {
                self.datapath = None;
                old.learn_fields(self.socket)
            }
        };
        Ok(())
    }
}

/// A datagram that was received.
pub(crate) struct Inbound<'a> {
    pub(crate) tickets: Tickets,
    pub(crate) from: SocketAddr,
    pub(crate) data: &'a [u8],
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
            // The socket is known by now, so the number is another socket's ticket.
            Unread::UnknownSocket => Self::Overrun,
        }
    }
}

impl From<Missed> for Unread {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Overrun => Self::Because(Error::Overrun),
            Missed::Foreign => Self::UnknownSocket,
            Missed::Malformed(error) => Self::Because(error.into()),
        }
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Because(error)
    }
}

/// The ticket of a datagram that reached the socket before tickets were asked for.
const NOT_LOOKED_AT: u32 = 0;

impl Datapath {
    /// Reads what came with a datagram of `socket`.
    fn read(
        &self,
        socket: BorrowedFd<'_>,
        tickets: &Tickets,
        to: &mut PacketMeta,
    ) -> Result<(), Unread> {
        let known = self.socket(socket).ok_or(Unread::UnknownSocket)?;
        let read = self.read_of(known, socket, tickets, to);
        read.map_err(|unread| match sockopt::cookie(socket) {
            // Another socket has the descriptor now: it is our entry that may be wrong.
            Ok(cookie) if cookie != known.cookie => Unread::UnknownSocket,
            _ => unread,
        })
    }

    fn read_of(
        &self,
        Socket { cookie, carrier }: Socket,
        socket: BorrowedFd<'_>,
        tickets: &Tickets,
        to: &mut PacketMeta,
    ) -> Result<(), Unread> {
        let ticket = match tickets.of(carrier) {
            Some(ticket) if ticket != NOT_LOOKED_AT => ticket,
            _ => return Err(Error::from(Reason::NotEnabled).into()),
        };
        let Some(ring) = self.ring() else {
            // Even for TICKET_ABSENT, which may be of a datapath before this one.
            to.record = options::record(socket, abi::SOL_PKTMETA_DGRAM, ticket as i32)?;
            return Ok(());
        };
        let displaced = if ticket == abi::TICKET_ABSENT {
            to.record = None;
            0
        } else {
            ring.read(ticket, cookie, &mut to.record)?
        };
        // A datagram without a slot had no mark or priority that a slot would keep.
        to.displaced = (carrier != Carrier::Timestamp).then_some(displaced);
        Ok(())
    }
}

/// The carrier of a socket that is enabled already, in datapath and kernel.
fn enabled(socket: BorrowedFd<'_>) -> Result<Option<Carrier>, Error> {
    let on = |carrier: &Carrier| {
        sockopt::get_number(socket, libc::SOL_SOCKET, carrier.receive_option())
            .is_ok_and(|on| on != 0)
    };
    Ok(options::carrier(socket)?.filter(on))
}

/// Makes the kernel hand over a carrier.
fn receive_tickets(socket: BorrowedFd<'_>, wanted: Option<Carrier>) -> Result<Carrier, Error> {
    let carriers = Carrier::ALL.into_iter();
    for carrier in carriers.filter(|carrier| wanted.is_none_or(|wanted| wanted == *carrier)) {
        match sockopt::set_number(socket, libc::SOL_SOCKET, carrier.receive_option(), 1) {
            Ok(()) => return Ok(carrier),
            Err(error) if is_withheld(&error) => {}
            Err(error) => {
                return Err(Error::io("receive tickets (SO_RCVMARK and its like)")(
                    error,
                ));
            }
        }
    }
    Err(Reason::NoTickets.into())
}

/// True if this kernel does not have an option, or not for this process.
fn is_withheld(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOPROTOOPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{
        datapath::tests::{datapath, socket, tenant},
        ring::tests::Kernel,
    };
    use pktmeta_core::Record;
    use std::os::fd::AsFd;

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

    fn read(
        datapath: &Datapath,
        socket: BorrowedFd<'_>,
        tickets: Tickets,
    ) -> Result<PacketMeta, Unread> {
        let mut meta = PacketMeta::none();
        datapath.read(socket, &tickets, &mut meta)?;
        Ok(meta)
    }

    #[test]
    fn a_ticket_is_its_datagrams_record() {
        let socket = socket();
        let cookie = sockopt::cookie(socket.as_fd()).unwrap();
        let (datapath, kernel) = datapath(&socket);
        let fd = socket.as_fd();
        kernel.write(8 + 3, cookie, tenant(7).as_bytes());
        let meta = read(&datapath, fd, mark(8 + 3)).unwrap();
        assert_eq!(meta.record, Some(tenant(7)));
        assert_eq!(meta.displaced, Some(Kernel::displaced(8 + 3)));
        let absent = read(&datapath, fd, mark(abi::TICKET_ABSENT)).unwrap();
        assert_eq!((absent.record, absent.displaced), (None, Some(0)));
        kernel.write(8 + 5, cookie, &[0; 4]);
        let absent = read(&datapath, fd, mark(8 + 5)).unwrap();
        assert_eq!(absent.record, None);
        assert_eq!(absent.displaced, Some(Kernel::displaced(8 + 5)));
        assert!(matches!(
            read(&datapath, fd, mark(NOT_LOOKED_AT)),
            Err(Unread::Because(Error::Unavailable(Reason::NotEnabled)))
        ));
        kernel.write(16 + 3, cookie, tenant(8).as_bytes());
        assert!(matches!(
            read(&datapath, fd, mark(8 + 3)),
            Err(Unread::Because(Error::Overrun))
        ));
        kernel.write(8 + 4, cookie, &[0xff; Record::CAPACITY]);
        assert!(matches!(
            read(&datapath, fd, mark(8 + 4)),
            Err(Unread::Because(Error::Malformed(_)))
        ));
    }

    #[test]
    fn another_sockets_ticket_is_never_its_record() {
        let socket = socket();
        let (datapath, kernel) = datapath(&socket);
        let cookie = sockopt::cookie(self::socket().as_fd()).unwrap();
        kernel.write(8 + 3, cookie, tenant(7).as_bytes());
        let read = self::read(&datapath, socket.as_fd(), mark(8 + 3));
        assert!(matches!(read, Err(Unread::UnknownSocket)));
        let other = self::socket();
        let read = self::read(&datapath, other.as_fd(), mark(8 + 3));
        assert!(matches!(read, Err(Unread::UnknownSocket)));
    }

    #[test]
    fn a_ticket_counts_only_in_the_carrier_of_the_socket() {
        let socket = socket();
        let (datapath, _kernel) = datapath(&socket);
        let priority = tickets(libc::SOL_SOCKET, libc::SO_PRIORITY, 0);
        assert!(matches!(
            read(&datapath, socket.as_fd(), priority),
            Err(Unread::Because(Error::Unavailable(Reason::NotEnabled)))
        ));
    }
}
