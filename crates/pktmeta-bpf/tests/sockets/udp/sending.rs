//! Datagrams that are sent, and what their records are compared with.

use crate::lab::{Lab, version_of};
use pktmeta::{Error, PacketMeta, Reason};
use std::net::UdpSocket;

/// Sends a datagram as `tenant`.
pub(super) fn send(lab: &Lab, server: &UdpSocket, tenant: u32, payload: &[u8]) {
    let to = server.local_addr().unwrap();
    let client = lab.udp_client(version_of(to), tenant);
    client.send_to(payload, to).unwrap();
}

#[track_caller]
pub(crate) fn assert_same(one: &PacketMeta, other: &PacketMeta) {
    let bytes = |meta: &PacketMeta| meta.record().unwrap().as_bytes().to_vec();
    assert_eq!(bytes(one), bytes(other));
}

#[track_caller]
pub(super) fn assert_not_enabled(meta: Result<PacketMeta, Error>) {
    let error = meta.unwrap_err();
    assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
}
