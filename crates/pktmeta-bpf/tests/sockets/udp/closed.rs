//! What is left of sockets that were closed.

use super::sending::send;
use crate::{
    lab::{Lab, TRACE, assert_labelled},
    options::set_at,
    storage::Storage,
};
use pktmeta::{Carrier, MetaSender, Received, SendMeta, UdpMeta};
use pktmeta_bpf::Senders;
use pktmeta_core::abi;
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::net::UdpSocket;

#[test]
fn closed_sockets_leave_nothing_behind() {
    const EACH: usize = 50;
    in_sandbox(|sandbox| {
        let lab = Lab::up_for(sandbox, Senders::All);
        let mut storage = Storage::open(sandbox);
        for version in IpVersion::BOTH {
            for carrier in [Carrier::Mark, Carrier::Priority, Carrier::Timestamp] {
                let open = [(); EACH].map(|()| keep_all(&lab, version, carrier));
                let kept: Vec<_> = storage.count().into_keys().collect();
                let all = ["pktmeta_tx", "pktmeta_tx_tickets", "selections", "tickets"];
                assert_eq!(kept, all);
                drop(open);
            }
        }
        storage.wait_until_left([]);
    });
}

/// A socket that keeps all that one can ask for, and which has read one datagram of two.
fn keep_all(lab: &Lab, version: IpVersion, carrier: Carrier) -> MetaSender<UdpSocket> {
    let server = lab.udp_server(version);
    server.enable_packet_meta_in(carrier).unwrap();
    let any_field = [1];
    set_at(&server, abi::SOL_PKTMETA, abi::PKTMETA_FIELDS, &any_field).unwrap();
    for tenant in [1, 2] {
        send(lab, &server, tenant, b"hello");
    }
    let Received { from, meta, .. } = server.recv_from_meta(&mut [0; 16]).unwrap();
    assert_labelled(&meta.unwrap(), 1);
    let sender = MetaSender::new(server).unwrap();
    sender.set_packet_meta(&TRACE.with(7)).unwrap();
    sender.send_to(b"hello", from, &TRACE.with(8)).unwrap();
    sender
}
