//! What looks like a record in front of a packet, and is none. Frames that another XDP program
//! passed with its own metadata are met by our hooks at TC and in the cgroup.

use super::{foreign::passing_xdp, message::Message};
use crate::{
    lab::{Lab, assert_labelled},
    options::get_at,
};
use pktmeta::{Record, UdpMeta};
use pktmeta_bpf::Datapath;
use pktmeta_core::{
    abi,
    seal::{self, Secret},
};
use pktmeta_testkit::{
    link::IpVersion,
    packet::Frame,
    prog_run::LiveFrames,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    net::UdpSocket,
    os::fd::{AsFd, OwnedFd},
};

#[test]
fn a_record_that_proves_itself_is_read_at_the_socket_whatever_its_size() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        for size in (24..=seal::AREA_MAX).step_by(8) {
            let area = host.secret.enclose(&host.record, size);
            let message = host.deliver(&area);
            let meta = host.server.control_meta(&message.control).unwrap();
            assert_labelled(&meta, TENANT);
        }
        // Each of its bytes, and none of the seal's.
        for length in host.record.as_bytes().len() + 2..=seal::RECORD_MAX {
            let room = length.next_multiple_of(8);
            let void = length - host.record.as_bytes().len() - 2;
            let mut record = host.record.as_bytes().to_vec();
            record.extend([0, void as u8]);
            record.extend((0..void).map(|at| at as u8 | 0x80));
            record[3] = length as u8;
            let message = host.deliver(&host.sealed(&record, room + seal::SIZE));
            let ticket = message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap();
            let answer = get_at(&host.server, abi::SOL_PKTMETA_DGRAM, ticket as i32, 256);
            assert_eq!(answer, Ok(record));
        }
    });
}

#[test]
fn what_does_not_prove_itself_is_no_record_at_the_socket() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let own = host.secret.enclose(&host.record, 32);
        let with = |at: usize, byte: u8| {
            let mut area = own.clone();
            area[at] = byte;
            area
        };
        let other = Secret::new(host.secret.bits() ^ 1);
        let other = other.or_else(|| Secret::new(host.secret.bits() ^ 2));
        let mut lookalikes = vec![
            // An area of 8 whose header says 16, and others with another size than theirs.
            vec![b'P', 16, 0x10, 4, 0, 0, 0, 0],
            with(1, 24),
            with(1, 40),
            with(1, b'M'),
            // Another version, too short, too long.
            with(2, 0x20),
            with(2, 0x90),
            with(3, 3),
            with(3, 25),
            with(3, 32),
            with(3, 255),
            with(0, b'p'),
            other.unwrap().enclose(&host.record, 32),
            host.record.as_bytes()[..8].to_vec(),
            own[..28].to_vec(),
            own[4..].to_vec(),
            [&own[..], &[0; 4]].concat(),
            [&[0; 4], &own[..]].concat(),
            host.sealed(host.record.as_bytes(), 28),
            vec![0; 32],
            vec![0xff; 216],
        ];
        // Whichever bit of the check was written.
        let check = own.len() - seal::SIZE..own.len() - 2;
        lookalikes.extend(check.flat_map(|at| [1, 0x80].map(|bit| with(at, own[at] ^ bit))));
        for area in &lookalikes {
            let message = host.deliver(area);
            let meta = host.server.control_meta(&message.control).unwrap();
            assert!(meta.is_absent(), "{area:x?}");
        }
        // What the two spare bytes are proves nothing, and takes nothing away.
        let message = host.deliver(&with(own.len() - 1, 0xff));
        let meta = host.server.control_meta(&message.control).unwrap();
        assert_labelled(&meta, TENANT);
    });
}

const TENANT: u32 = 3;

/// A server that gets frames with metadata of choice.
struct Host {
    lab: Lab,
    secret: Secret,
    /// One that XDP could have made.
    record: Record,
    server: UdpSocket,
    passes: OwnedFd,
}

impl Host {
    fn up(sandbox: &Sandbox) -> Self {
        // TC adds nothing to what is delivered.
        let lab = Lab::up_with(sandbox, |options| options.produce.clear());
        let registry = Datapath::new(sandbox.bpffs()).registry().read().unwrap();
        let mut record = Record::new();
        let tenant = registry.by_name("tenant").unwrap().tag();
        record.set(tenant, &TENANT.to_le_bytes()).unwrap();
        let server = lab.udp_server(IpVersion::V4);
        server.enable_packet_meta().unwrap();
        Self {
            lab,
            secret: registry.secret().unwrap(),
            record,
            server,
            passes: passing_xdp(),
        }
    }

    /// These bytes in an area of this size, with the seal that such an area has.
    fn sealed(&self, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut area = bytes.to_vec();
        area.resize(size - seal::SIZE, 0);
        area[1] = size as u8;
        area.extend(self.secret.seal(size));
        area
    }

    /// Receives a datagram that arrives with this metadata.
    fn deliver(&self, metadata: &[u8]) -> Message {
        let lab = &self.lab;
        let from = crate::lab::client_address(IpVersion::V4, TENANT, 4000);
        let frame = Frame::new(from, self.server.local_addr().unwrap());
        let (client, server) = (lab.hosts.client_link(), lab.hosts.server_link());
        let run = LiveFrames::new(self.passes.as_fd())
            .packet(&frame.macs(client.mac(), server.mac()).udp(b"hello"))
            .metadata(metadata)
            .ingress_ifindex(lab.hosts.server_ifindex())
            .repeat(1);
        lab.hosts.server().run(|| run.run()).unwrap();
        Message::receive(&self.server, 16, 0)
    }
}
