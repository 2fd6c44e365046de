//! The record of everything that a socket sends.

use super::record;
use crate::{
    Error, PacketMeta,
    host::{datapath, options},
    socket::AnySocket,
};
use pktmeta_core::{Field, FieldType, ToRecord, abi};

/// Labels what a socket sends, for programs at cgroup_skb and TC egress.
///
/// For the sockets of the standard library and of tokio, and by
/// [`BorrowedFd`](std::os::fd::BorrowedFd) for any other: `socket.as_fd()`. Needs a datapath
/// (`pktmeta up`) on a cgroup that contains the process, and fields whose schema has `"app"` among
/// its `writers`. Each call is one `setsockopt` or `getsockopt`, plus another where the process may
/// not map the datapath's ring. Nothing is allocated.
///
/// The record stays until it is changed, for everything that is sent from then on:
/// - if it is set before `connect`, the connection's SYN has it too (make the socket with
///   `socket2`, and label its `as_fd()`);
/// - if it is set on a listener, the connections that it accepts start with it, and then have
///   their own;
/// - datagrams of a [`MetaSender`](crate::MetaSender) have their own instead.
///
/// A new datapath does not know the record: set it again when the datapath was replaced.
pub trait SendMeta: AnySocket {
    /// Sets the record of what the socket sends: these values and no others.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath; [`Error::Record`] if the host does not have one
    /// of the fields; [`Error::NotPermitted`] if applications must not write one;
    /// [`Error::NoMemory`]. The record is then unchanged.
    fn set_packet_meta<R: ToRecord + ?Sized>(&self, values: &R) -> Result<(), Error>;

    /// Sets one field, and leaves the others.
    ///
    /// # Errors
    /// As [`SendMeta::set_packet_meta`]; [`Error::NoRoom`] if it does not fit beside the others.
    fn set_packet_field<T: FieldType>(&self, field: Field<T>, value: &T) -> Result<(), Error>;

    /// Deletes one field. False if the record did not have it.
    ///
    /// # Errors
    /// As [`SendMeta::set_packet_meta`].
    fn delete_packet_field<T: FieldType>(&self, field: Field<T>) -> Result<bool, Error>;

    /// Deletes the record: whatever is sent from now on has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath.
    fn clear_packet_meta(&self) -> Result<(), Error>;

    /// The record of what the socket sends; absent if none is set.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a datapath.
    fn outgoing_meta(&self) -> Result<PacketMeta, Error>;
}

impl<S: AnySocket + ?Sized> SendMeta for S {
    fn set_packet_meta<R: ToRecord + ?Sized>(&self, values: &R) -> Result<(), Error> {
        let socket = self.as_fd();
        datapath::by_numbers(socket, |_, registry| {
            let record = values.to_record(registry)?;
            record::tell(socket, abi::SOL_PKTMETA, abi::PKTMETA_TX, &record, registry)
        })
    }

    fn set_packet_field<T: FieldType>(&self, field: Field<T>, value: &T) -> Result<(), Error> {
        let socket = self.as_fd();
        datapath::by_numbers(socket, |_, registry| {
            let tlv = registry.number(field)?;
            let name = abi::PKTMETA_TX_FIELD + i32::from(tlv.get());
            value
                .encode(|bytes| options::tell(socket, abi::SOL_PKTMETA, name, bytes))
                .map_err(|error| record::explain(error, registry, [tlv]))
        })
    }

    fn delete_packet_field<T: FieldType>(&self, field: Field<T>) -> Result<bool, Error> {
        let socket = self.as_fd();
        datapath::by_numbers(socket, |_, registry| {
            let tlv = registry.number(field)?;
            let name = abi::PKTMETA_TX_DELETE + i32::from(tlv.get());
            options::delete(socket, name).map_err(|error| record::explain(error, registry, [tlv]))
        })
    }

    fn clear_packet_meta(&self) -> Result<(), Error> {
        options::tell(self.as_fd(), abi::SOL_PKTMETA, abi::PKTMETA_TX, &[])
    }

    fn outgoing_meta(&self) -> Result<PacketMeta, Error> {
        datapath::segment(self.as_fd(), abi::SOL_PKTMETA, abi::PKTMETA_TX)
    }
}
