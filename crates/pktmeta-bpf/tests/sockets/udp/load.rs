//! More datagrams than there is room for: late or lost, never with a wrong record.

use crate::{
    lab::{Lab, hide_the_ring, set_option},
    tally::{Payload, Random, Tally},
};
use pktmeta::{Batch, Error, PacketMeta, Received, UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{collections::BTreeSet, net::UdpSocket, sync::Mutex, thread, time::Duration};

/// A reader that has got nothing for so long has got all.
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn lost_datagrams_do_not_change_the_records_of_others() {
    in_sandbox(|sandbox| lose(&Lab::up(sandbox)));
}

#[test]
fn without_a_mapped_ring_lost_datagrams_do_not_change_the_records_of_others() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        lose(&Lab::up(sandbox));
    });
}

/// Two senders, each as all tenants, and two readers of one socket with a small queue.
fn lose(lab: &Lab) {
    const SENDERS: u32 = 2;
    const DATAGRAMS: u64 = 2500;
    for version in IpVersion::BOTH {
        let server = lab.udp_server(version);
        server.enable_packet_meta().unwrap();
        set_option(&server, libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 10);
        server.set_read_timeout(Some(SILENCE)).unwrap();
        // Nobody reads yet: not all of these can wait.
        send_as_all(lab, &server, SENDERS, DATAGRAMS);
        let packets = Mutex::new(BTreeSet::new());
        let (mut tally, server) = (Tally::default(), &server);
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                scope.spawn(move || send_as_all(lab, server, sender, DATAGRAMS));
            }
            let readers = [read_singly, read_batches].map(|read| {
                let packets = &packets;
                scope.spawn(move || read(server, packets))
            });
            for reader in readers {
                tally += reader.join().unwrap();
            }
        });
        println!("{version:?}: {tally}");
        assert_eq!(tally.total(), tally.right, "{tally}");
        let sent = u64::from(SENDERS + 1) * DATAGRAMS;
        assert!((1..sent).contains(&tally.right), "{tally}");
        // No record was read twice.
        assert_eq!(packets.into_inner().unwrap().len() as u64, tally.right);
    }
}

/// Sends so many datagrams, each as a tenant that nobody foresees.
fn send_as_all(lab: &Lab, server: &UdpSocket, sender: u32, datagrams: u64) {
    let to = server.local_addr().unwrap();
    let version = crate::lab::version_of(to);
    let clients: Vec<_> = Lab::TENANTS
        .map(|tenant| (tenant, lab.udp_client(version, tenant)))
        .collect();
    let mut random = Random::new(sender.into());
    for number in 0..datagrams {
        let (tenant, client) = random.choose(&clients);
        let payload = Payload::new(*tenant, sender << 8 | tenant, number);
        client.send_to(&payload.to_bytes(), to).unwrap();
    }
}

type Packets = Mutex<BTreeSet<u64>>;

fn read_singly(server: &UdpSocket, packets: &Packets) -> Tally {
    let mut tally = Tally::default();
    let mut buffer = [0; Payload::SIZE];
    while let Ok(Received { meta, .. }) = server.recv_from_meta(&mut buffer) {
        packets.lock().unwrap().extend(packet_number(&meta));
        tally.count_datagram(&buffer, meta);
    }
    tally
}

fn read_batches(server: &UdpSocket, packets: &Packets) -> Tally {
    let mut tally = Tally::default();
    let mut batch = Batch::new(8, Payload::SIZE);
    while server.recv_batch_meta(&mut batch).is_ok() {
        for datagram in batch.iter() {
            let meta = datagram.meta.copied();
            packets.lock().unwrap().extend(packet_number(&meta));
            tally.count_datagram(datagram.data, meta);
        }
    }
    tally
}

#[test]
fn datagrams_that_overtake_each_other_keep_their_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        lab.spread_flows();
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            set_option(&server, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
            server.set_read_timeout(Some(SILENCE)).unwrap();
            let (mut tally, server) = (Tally::default(), &server);
            let mut overtaken = 0;
            thread::scope(|scope| {
                for sender in 0..2 {
                    let lab = &lab;
                    scope.spawn(move || send_as_all(lab, server, sender, 4000));
                }
                let (mut buffer, mut last) = ([0; Payload::SIZE], None);
                while let Ok(Received { meta, .. }) = server.recv_from_meta(&mut buffer) {
                    let number = packet_number(&meta);
                    overtaken += u32::from(number < last);
                    last = number;
                    tally.count_datagram(&buffer, meta);
                }
            });
            println!("{version:?}: {tally}, {overtaken} overtaken");
            assert_eq!(tally.total(), tally.right, "{tally}");
            assert!(overtaken > 0, "in order, as on one CPU: {tally}");
        }
    });
}

fn packet_number(meta: &Result<PacketMeta, Error>) -> Option<u64> {
    meta.as_ref().ok()?.get(builtin::PACKET_NUMBER)
}

#[test]
fn a_slow_reader_sees_overruns_and_no_wrong_record() {
    in_sandbox(|sandbox| read_late(&Lab::up_with(sandbox, |options| options.slots = SLOTS)));
}

#[test]
fn a_slow_reader_that_cannot_map_the_ring_sees_overruns_and_no_wrong_record() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        read_late(&Lab::up_with(sandbox, |options| options.slots = SLOTS));
    });
}

const SLOTS: u32 = 64;

/// Reads when many more datagrams wait than the ring has slots.
fn read_late(lab: &Lab) {
    const DATAGRAMS: u64 = 2000;
    for version in IpVersion::BOTH {
        let server = lab.udp_server(version);
        server.enable_packet_meta().unwrap();
        set_option(&server, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
        server.set_read_timeout(Some(SILENCE)).unwrap();
        send_as_all(lab, &server, 0, DATAGRAMS);
        let tally = read_singly(&server, &Packets::default());
        println!("{version:?}: {tally}");
        assert_eq!(tally.total(), DATAGRAMS);
        assert_eq!(tally.right + tally.overrun, DATAGRAMS, "{tally}");
        // All CPUs' slots, if each sent at last as many as it has.
        assert!((1..=SLOTS.into()).contains(&tally.right), "{tally}");
    }
}
