//! Where a ticket travels beside its datagram.

use crate::sys::{SO_RCVMARK, SO_RCVPRIORITY};
use pktmeta_core::abi;

/// What a socket gives up for the tickets of its datagrams.
///
/// Only on this socket, and only between the datapath and `recvmsg`: routing, netfilter and TC see the
/// packet's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The mark, by `SO_RCVMARK`: Linux 5.19, and some kernels want `CAP_NET_RAW` or `CAP_NET_ADMIN` for it
    /// (6.1 was one). [`PacketMeta::displaced`](crate::PacketMeta::displaced) has the datagram's own mark.
    Mark,
    /// The priority, by `SO_RCVPRIORITY`: Linux 6.14, no capability.
    /// [`PacketMeta::displaced`](crate::PacketMeta::displaced) has the datagram's own priority.
    Priority,
    /// The time of arrival, by `SO_TIMESTAMPNS`: any Linux, no capability. The time is lost; let a
    /// program record it in a field instead.
    Timestamp,
}

impl Carrier {
    /// In the order in which they are tried.
    pub(crate) const ALL: [Self; 3] = [Self::Mark, Self::Priority, Self::Timestamp];

    /// The carrier that `PKTMETA_TICKETS` names, if tickets are on.
    pub(crate) fn from_option(value: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|carrier| carrier.option() == value)
    }

    /// What `PKTMETA_TICKETS` calls it.
    pub(crate) fn option(self) -> i32 {
        match self {
            Self::Mark => abi::PKTMETA_TICKETS_MARK,
            Self::Priority => abi::PKTMETA_TICKETS_PRIORITY,
            Self::Timestamp => abi::PKTMETA_TICKETS_TIMESTAMP,
        }
    }

    /// The option that makes the kernel hand it over.
    pub(crate) fn receive_option(self) -> i32 {
        match self {
            Self::Mark => SO_RCVMARK,
            Self::Priority => SO_RCVPRIORITY,
            Self::Timestamp => libc::SO_TIMESTAMPNS,
        }
    }
}
