//! Connections.

use crate::lab::{LIMIT, Lab, assert_labelled};
use pktmeta::TcpMeta;
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::io::{Read, Write};

#[test]
fn an_accepted_socket_has_the_records_of_its_syn_and_of_the_latest_segment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let mut client = lab.connect(listener.local_addr().unwrap(), 3);
            let (mut server, _) = listener.accept().unwrap();
            server.set_read_timeout(Some(LIMIT)).unwrap();
            assert_labelled(&server.opening_meta().unwrap(), 3);
            client.write_all(b"?").unwrap();
            server.read_exact(&mut [0]).unwrap();
            assert_labelled(&server.packet_meta().unwrap(), 3);
        }
    });
}
