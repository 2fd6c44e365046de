//! Applications outlive the datapath.

use crate::lab::{Lab, TENANT};
use pktmeta::{Error, PacketMeta, TcpMeta, UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

/// What became of the datagrams that were read.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    right: u32,
    wrong: u32,
    overrun: u32,
    absent: u32,
    unavailable: u32,
}

impl Tally {
    fn count(&mut self, lab: &Lab, tenant: u32, meta: Result<PacketMeta, Error>) {
        let count = match meta {
            Ok(meta) if meta.is_absent() => &mut self.absent,
            Ok(meta) if is_right(lab, tenant, &meta) => &mut self.right,
            Ok(meta) => {
                println!("wrong, as tenant {tenant} sent it: {meta:?}");
                &mut self.wrong
            }
            Err(Error::Overrun) => &mut self.overrun,
            Err(Error::Unavailable(_)) => &mut self.unavailable,
            Err(error) => panic!("{error:?}"),
        };
        *count += 1;
    }
}

fn is_right(lab: &Lab, tenant: u32, meta: &PacketMeta) -> bool {
    meta.get(TENANT) == Some(tenant)
        && meta.get(builtin::RX_IFINDEX) == Some(lab.ifindex())
        && meta.get(builtin::RX_TIMESTAMP).is_some()
        && meta.get(builtin::FLOW_HASH).is_some()
}

/// Makes the ring of the datapath one that this process cannot map.
fn hide_the_ring() {
    // SAFETY: this process runs this one test, none of whose threads is running yet.
    unsafe { std::env::set_var("PKTMETA_BPFFS", "/nonexistent") };
}

#[test]
fn an_application_survives_the_datapath_and_uses_the_next_one() {
    in_sandbox(|sandbox| outlive(&Lab::up_with(sandbox, &Lab::ALL_FIELDS)));
}

#[test]
fn an_application_that_cannot_map_the_ring_survives_the_datapath_and_uses_the_next_one() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        outlive(&Lab::up_with(sandbox, &Lab::ALL_FIELDS));
    });
}

/// Reads all the time while the datapath goes down, comes up with other field numbers, and goes.
fn outlive(lab: &Lab) {
    let (version, tenant) = (IpVersion::V4, 3);
    let (server, client) = (lab.udp_server(version), lab.udp_client(version, tenant));
    let (stream, peer) = lab.connection(version, tenant);
    let reader = Reader {
        lab,
        tenant,
        server,
        client,
        stream,
        peer,
    };
    reader.expects_right();
    for again in 0..3 {
        // Absent: nobody labels any more, but the sockets are still served.
        let tally = reader.reads_during(|| drop(lab.down()));
        assert!(tally.right > 0 && tally.wrong == 0, "{tally:?}");
        reader.expects_unavailable();

        // Fields that are not produced have no number: tenant's is another each time.
        let fields = [
            "flow_hash,rx_timestamp,rx_ifindex",
            "rx_timestamp,rx_ifindex,flow_hash,rx_queue",
        ];
        let tally = reader.reads_during(|| {
            lab.try_up(&["--produce", fields[again % 2]]).succeeds();
        });
        assert_eq!(tally.wrong, 0, "{tally:?}");
        reader.server.enable_packet_meta().unwrap();
        reader.expects_right();
    }
}

struct Reader<'a> {
    lab: &'a Lab,
    tenant: u32,
    server: UdpSocket,
    client: UdpSocket,
    /// The server's end of a connection, and its peer.
    stream: TcpStream,
    peer: TcpStream,
}

impl Reader<'_> {
    /// Reads until `change` is done.
    fn reads_during(&self, change: impl FnOnce()) -> Tally {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut tally = Tally::default();
                while !done.load(Ordering::Relaxed) {
                    self.read(&mut tally);
                }
                tally
            });
            change();
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        })
    }

    /// Sends one datagram and one segment, and reads both.
    fn read(&self, tally: &mut Tally) {
        let (lab, tenant) = (self.lab, self.tenant);
        self.client
            .send_to(b"?", self.server.local_addr().unwrap())
            .unwrap();
        let meta = self.server.recv_from_meta(&mut [0]).unwrap().meta;
        tally.count(lab, tenant, meta);
        (&self.peer).write_all(b"?").unwrap();
        (&self.stream).read_exact(&mut [0]).unwrap();
        tally.count(lab, tenant, self.stream.packet_meta());
    }

    fn reads_some(&self) -> Tally {
        let mut tally = Tally::default();
        (0..10).for_each(|_| self.read(&mut tally));
        tally
    }

    #[track_caller]
    fn expects_right(&self) {
        let right = Tally {
            right: 20,
            ..Tally::default()
        };
        assert_eq!(self.reads_some(), right);
    }

    #[track_caller]
    fn expects_unavailable(&self) {
        let unavailable = Tally {
            unavailable: 20,
            ..Tally::default()
        };
        assert_eq!(self.reads_some(), unavailable);
    }
}
