//! Datagrams.

mod carriers;
mod closed;
mod fragments;
mod gro;
mod group;
mod load;
mod lookalikes;
mod many;
mod mapped;
pub(crate) mod message;
mod receive;
mod ring;
mod slots;

use crate::lab::{Lab, version_of};
use pktmeta::{Error, PacketMeta, Reason};
use std::{net::UdpSocket, os::fd::OwnedFd};

/// An XDP program of somebody else's, which lets packets pass as they are.
pub(crate) fn passing_xdp() -> OwnedFd {
    const XDP_PASS: i32 = 2;
    carriers::program(libbpf_sys::BPF_PROG_TYPE_XDP, c"pass", &[], XDP_PASS)
}

/// Sends a datagram as `tenant`.
fn send(lab: &Lab, server: &UdpSocket, tenant: u32, payload: &[u8]) {
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
fn assert_not_enabled(meta: Result<PacketMeta, Error>) {
    let error = meta.unwrap_err();
    assert!(error.is_unavailable(Reason::NotEnabled), "{error:?}");
}
