//! The mock's answers to socket options: those of `docs/abi.md`.

use super::{
    Label, Packet, PacketKind, Sent, Shared, lock,
    state::{Answer, Errno, Sockets, State, is_at},
};
use crate::{
    PacketMeta,
    carrier::{Carrier, Tickets, TxTicket},
    net::sockopt,
};
use pktmeta_core::{FieldInfo, Record, TlvType, abi, registry::Refusal};
use std::{io, net::SocketAddr, os::fd::BorrowedFd};

impl Shared {
    pub(crate) fn instance(&self) -> u32 {
        self.instance
    }

    pub(crate) fn get(&self, socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<Vec<u8>> {
        self.answer(socket, level, name)
            .map_err(io::Error::from_raw_os_error)
    }

    pub(crate) fn set(
        &self,
        socket: BorrowedFd<'_>,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> io::Result<()> {
        self.change(socket, level, name, value)
            .map_err(io::Error::from_raw_os_error)?;
        if sockopt::get_number(socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0 {
            let address = sockopt::local_address(socket)?;
            let state = self.with(socket, |state| state.clone());
            let state = state.map_err(io::Error::from_raw_os_error)?;
            let mut sockets = lock(&self.sockets);
            sockets.listeners.retain(|(other, _)| *other != address);
            sockets.listeners.push((address, state));
        }
        Ok(())
    }

    /// Labels a datagram that arrived.
    pub(crate) fn arrived(&self, socket: BorrowedFd<'_>, from: SocketAddr, data: &[u8]) -> Tickets {
        let Ok(Some(carrier)) = self.with(socket, |state| state.carrier) else {
            return Tickets::default();
        };
        let record = self.label(socket, PacketKind::Datagram(data), from);
        let ticket = self.with(socket, |state| {
            state.ticket = state.ticket.max(abi::TICKET_ABSENT) + 1;
            state.arrived.insert(state.ticket, record);
            state.ticket
        });
        ticket.map_or_else(
            |_| Tickets::default(),
            |ticket| Tickets::in_carrier(carrier, ticket),
        )
    }

    pub(crate) fn note(
        &self,
        socket: BorrowedFd<'_>,
        to: Option<SocketAddr>,
        ticket: Option<TxTicket>,
    ) {
        let Some(to) = to.or_else(|| sockopt::peer_address(socket).ok()) else {
            return;
        };
        let record = self.with(socket, |state| match ticket {
            // The socket's record is not for a datagram with a ticket.
            Some(ticket) => {
                let (number, record) = state.tx_tickets.get(&slot_of(ticket.get()))?;
                (*number == ticket.get()).then_some(*record)
            }
            None => state.tx,
        });
        let meta = PacketMeta::new(record.unwrap_or(None), self.registry);
        lock(&self.sent).push(Sent { to, meta });
    }

    fn answer(&self, socket: BorrowedFd<'_>, level: i32, name: i32) -> Answer<Vec<u8>> {
        let number = name as u32;
        let record = match (level, name) {
            (abi::SOL_PKTMETA, abi::PKTMETA_INFO) => return Ok(self.info()),
            (abi::SOL_PKTMETA, abi::PKTMETA_TICKETS) => {
                must_be(socket, libc::SOCK_DGRAM)?;
                let carrier = self.with(socket, |state| state.carrier)?;
                let option = carrier.map_or(abi::PKTMETA_TICKETS_OFF, Carrier::option);
                return Ok(option.to_ne_bytes().into());
            }
            (abi::SOL_PKTMETA, abi::PKTMETA_TX) => {
                self.with(socket, |state| state.tx)?.ok_or(libc::ENODATA)
            }
            (abi::SOL_PKTMETA, abi::PKTMETA_RX) => {
                must_be(socket, libc::SOCK_STREAM)?;
                self.label(
                    socket,
                    PacketKind::Latest,
                    sockopt::peer_address(socket).map_err(errno)?,
                )
            }
            (abi::SOL_PKTMETA, abi::PKTMETA_RX_SYN) => {
                must_be(socket, libc::SOCK_STREAM)?;
                self.label(
                    socket,
                    PacketKind::Opening,
                    sockopt::peer_address(socket).map_err(errno)?,
                )
            }
            (abi::SOL_PKTMETA, _) => {
                let next = type_of(name, abi::PKTMETA_FIELD_INFO).ok_or(libc::ENOPROTOOPT)?;
                return self.field_info(next);
            }
            (abi::SOL_PKTMETA_BYTE, _) => {
                must_be(socket, libc::SOCK_STREAM)?;
                match self.with(socket, |state| state.history)? {
                    true => self.label(
                        socket,
                        PacketKind::Byte(number),
                        sockopt::peer_address(socket).map_err(errno)?,
                    ),
                    false => Err(libc::ESTALE),
                }
            }
            (abi::SOL_PKTMETA_DGRAM, _) => {
                must_be(socket, libc::SOCK_DGRAM)?;
                let arrived = self.with(socket, |state| state.arrived.remove(&number))?;
                arrived.unwrap_or(Err(libc::ESTALE))
            }
            (abi::SOL_PKTMETA_DGRAM_DISPLACED, _) => {
                must_be(socket, libc::SOCK_DGRAM)?;
                let latest = self.with(socket, |state| state.ticket)?;
                // Datagrams of the mock have no mark and no priority.
                let is_known =
                    (abi::TICKET_ABSENT..=latest.max(abi::TICKET_ABSENT)).contains(&number);
                return is_known.then(|| [0; 4].into()).ok_or(libc::ESTALE);
            }
            _ => Err(libc::ENOPROTOOPT),
        };
        Ok(record?.as_bytes().into())
    }

    fn change(&self, socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> Answer<()> {
        let number = || {
            let bytes = value.try_into().map_err(|_| libc::EINVAL)?;
            Ok::<_, Errno>(i32::from_ne_bytes(bytes))
        };
        match (level, name) {
            (abi::SOL_PKTMETA, abi::PKTMETA_TICKETS) => {
                must_be(socket, libc::SOCK_DGRAM)?;
                let carrier = Carrier::from_option(number()?);
                self.with(socket, |state| state.carrier = carrier)
            }
            (abi::SOL_PKTMETA, abi::PKTMETA_RX_HISTORY) => {
                must_be(socket, libc::SOCK_STREAM)?;
                let history = number()? != 0;
                self.with(socket, |state| state.history = history)
            }
            (abi::SOL_PKTMETA, abi::PKTMETA_TX) => {
                let record = self.writable(value)?;
                self.with(socket, |state| state.tx = record)
            }
            (abi::SOL_PKTMETA, _) => {
                if let Some(tlv) = type_of(name, abi::PKTMETA_TX_FIELD) {
                    let field = self.writable_field(tlv)?;
                    field.check_given(value).map_err(refused)?;
                    return self.with(socket, |state| {
                        let record = state.tx.get_or_insert_default();
                        record.set(field.tag(), value).map_err(|_| libc::ENOSPC)
                    })?;
                }
                let tlv = type_of(name, abi::PKTMETA_TX_DELETE).ok_or(libc::ENOPROTOOPT)?;
                let tag = self.writable_field(tlv)?.tag();
                let deleted = self.with(socket, |state| Some(state.tx.as_mut()?.delete(tag)))?;
                deleted
                    .filter(|deleted| *deleted)
                    .map(drop)
                    .ok_or(libc::ENOENT)
            }
            (abi::SOL_PKTMETA_DGRAM, ticket) => {
                must_be(socket, libc::SOCK_DGRAM)?;
                let (ticket, record) = (ticket as u32, self.writable(value)?);
                if ticket & abi::TX_TICKET_MASK != abi::TX_TICKET {
                    return Err(libc::EINVAL);
                }
                self.with(socket, |state| match record {
                    Some(record) => {
                        state.tx_tickets.insert(slot_of(ticket), (ticket, record));
                    }
                    None => state.tx_tickets.retain(|_, (its, _)| *its != ticket),
                })
            }
            _ => Err(libc::ENOPROTOOPT),
        }
    }

    /// The record of a packet of `socket`.
    fn label(
        &self,
        socket: BorrowedFd<'_>,
        kind: PacketKind<'_>,
        from: SocketAddr,
    ) -> Answer<Record> {
        let to = sockopt::local_address(socket).map_err(errno)?;
        match (self.label)(&Packet { kind, from, to }) {
            Label::Record(values) => match values.to_record(self.registry) {
                Ok(record) => Ok(record),
                Err(error) => panic!("label of the mock datapath: {error}"),
            },
            Label::Absent => Err(libc::ENODATA),
            Label::Lost => Err(libc::ESTALE),
            Label::NotArrived => Err(libc::EAGAIN),
        }
    }

    /// `struct pktmeta_info`.
    fn info(&self) -> Vec<u8> {
        const FEATURES: u32 =
            abi::FEATURE_RX_TCP | abi::FEATURE_RX_UDP | abi::FEATURE_HISTORY | abi::FEATURE_TX;
        // No ring: no cgroup has this number.
        let (slots, cgroup, schema) = (0u32, 0u64, u64::from(self.instance));
        let mut bytes = Vec::new();
        for word in [abi::VERSION, self.instance, slots, FEATURES] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(cgroup.to_ne_bytes());
        bytes.extend(schema.to_ne_bytes());
        bytes
    }

    /// The field with this type or the next.
    fn field_info(&self, next: TlvType) -> Answer<Vec<u8>> {
        let fields = self.registry.fields().iter();
        let field = fields
            .filter(|field| field.tlv >= next)
            .min_by_key(|field| field.tlv);
        Ok(field.ok_or(libc::ENODATA)?.to_bytes().into())
    }

    /// A record of fields that applications may write; `None` if it has no fields.
    fn writable(&self, bytes: &[u8]) -> Answer<Option<Record>> {
        self.registry.given(bytes).map_err(refused)
    }

    fn writable_field(&self, tlv: TlvType) -> Answer<&FieldInfo> {
        self.registry.writable(tlv).map_err(refused)
    }

    /// Runs `act` with the state of a socket.
    fn with<T>(&self, socket: BorrowedFd<'_>, act: impl FnOnce(&mut State) -> T) -> Answer<T> {
        let cookie = sockopt::cookie(socket).map_err(errno)?;
        let local = sockopt::local_address(socket).map_err(errno)?;
        let Sockets { states, listeners } = &mut *lock(&self.sockets);
        let state = states.entry(cookie).or_insert_with(|| {
            let mut listeners = listeners.iter();
            let listener = listeners.find(|(listener, _)| is_at(*listener, local));
            listener.map(|(_, state)| state.clone()).unwrap_or_default()
        });
        Ok(act(state))
    }
}

fn slot_of(ticket: u32) -> u32 {
    ticket % abi::TX_SLOTS
}

/// The type that is added to an option's name.
fn type_of(name: i32, option: i32) -> Option<TlvType> {
    TlvType::new(name.checked_sub(option)?.try_into().ok()?)
}

fn must_be(socket: BorrowedFd<'_>, wanted: i32) -> Answer<()> {
    let kind = sockopt::get_number(socket, libc::SOL_SOCKET, libc::SO_TYPE).map_err(errno)?;
    (kind == wanted).then_some(()).ok_or(libc::EPROTOTYPE)
}

fn refused(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NotPermitted(_) => libc::EPERM,
        _ => libc::EINVAL,
    }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}
