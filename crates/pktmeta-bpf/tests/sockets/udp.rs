//! Datagrams.

use crate::lab::{Lab, assert_labelled};
use pktmeta::UdpMeta;
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};

#[test]
fn a_datagram_has_the_record_of_its_sender() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in Lab::TENANTS {
                let client = lab.udp_client(version, tenant);
                client
                    .send_to(b"hello", server.local_addr().unwrap())
                    .unwrap();
                let (_, from, meta) = server.recv_from_meta(&mut [0; 16]).unwrap();
                assert_eq!(from, client.local_addr().unwrap());
                assert_labelled(&meta.unwrap(), tenant);
            }
        }
    });
}
