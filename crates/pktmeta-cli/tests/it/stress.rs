//! Records under load: late, never wrong.

use crate::lab::{LIMIT, Lab, TENANT};
use pktmeta::{Batch, Error, PacketMeta, TcpMeta, UdpMeta, builtin};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// A payload says which tenant sent it, and which of its datagrams it is.
fn payload(tenant: u32, number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&tenant.to_be_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn tenant_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

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

    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.overrun += other.overrun;
        self.absent += other.absent;
        self.unavailable += other.unavailable;
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
fn a_slow_receiver_sees_overruns_and_no_wrong_record() {
    in_sandbox(|sandbox| receive_slowly(&Lab::up_with(sandbox, &["--slots", "64"])));
}

#[test]
fn a_slow_receiver_that_cannot_map_the_ring_sees_overruns_and_no_wrong_record() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        receive_slowly(&Lab::up_with(sandbox, &["--slots", "64"]));
    });
}

fn receive_slowly(lab: &Lab) {
    const DATAGRAMS: u32 = 2000;
    for version in IpVersion::BOTH {
        let server = lab.udp_server(version);
        force_receive_buffer(&server, 64 << 20);
        let to = server.local_addr().unwrap();
        let clients = Lab::TENANTS.map(|tenant| (tenant, lab.udp_client(version, tenant)));
        let clients: Vec<_> = clients.collect();
        for (number, (tenant, client)) in (0..DATAGRAMS).zip(clients.iter().cycle()) {
            client.send_to(&payload(*tenant, number), to).unwrap();
        }
        server
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let (mut tally, mut last) = (Tally::default(), None);
        let mut buffer = [0; 8];
        while let Some((length, _, meta)) = timely(server.recv_from_meta(&mut buffer)) {
            assert_eq!(length, buffer.len());
            // Each record is of its own datagram: those sent later have higher numbers.
            if let Ok(meta) = &meta {
                let number = meta.get(builtin::PACKET_NUMBER);
                assert!(number > last, "{number:?} after {last:?}");
                last = number;
            }
            tally.count(lab, tenant_of(&buffer), meta);
        }
        println!("{version:?}: {tally:?}");
        assert_eq!(
            (tally.wrong, tally.absent, tally.unavailable),
            (0, 0, 0),
            "{tally:?}"
        );
        assert!(tally.right > 0 && tally.overrun > 0, "{tally:?}");
        // Two CPUs have 64 slots between them.
        assert!(tally.right <= 64, "{tally:?}");
    }
}

/// `None` if nothing came in time.
fn timely<T>(received: std::io::Result<T>) -> Option<T> {
    match received {
        Ok(received) => Some(received),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn force_receive_buffer(socket: &UdpSocket, bytes: i32) {
    // SAFETY: the option's value is an int, of the size that is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as u32,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn many_sockets_that_come_and_go_never_see_a_wrong_record() {
    in_sandbox(|sandbox| come_and_go(&Lab::up(sandbox)));
}

#[test]
fn many_sockets_without_a_mapped_ring_never_see_a_wrong_record() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        come_and_go(&Lab::up(sandbox));
    });
}

/// Eight UDP sockets and four TCP connections at a time, each for a moment.
fn come_and_go(lab: &Lab) {
    let until = Instant::now() + Duration::from_secs(3);
    let versions = IpVersion::BOTH.into_iter().cycle();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (tenant, version) in (0..8).map(|n| 1 + n % 4).zip(versions.clone()) {
            threads.push(scope.spawn(move || exchange_datagrams(lab, version, tenant, until)));
        }
        for (tenant, version) in Lab::TENANTS.zip(versions) {
            threads.push(scope.spawn(move || open_connections(lab, version, tenant, until)));
        }
        for thread in threads {
            let one = thread.join().unwrap();
            assert!(one.right > 0, "{one:?}");
            tally.add(&one);
        }
    });
    println!("{tally:?}");
    let Tally { right, .. } = tally;
    assert_eq!(
        tally,
        Tally {
            right,
            ..Tally::default()
        }
    );
}

/// A new socket for each burst, so that descriptors are used again.
fn exchange_datagrams(lab: &Lab, version: IpVersion, first: u32, until: Instant) -> Tally {
    const BURST: u32 = 16;
    let mut tally = Tally::default();
    let mut batch = Batch::new(BURST as usize, 8);
    let tenants = Lab::TENANTS.cycle().skip(first as usize);
    for tenant in tenants.take_while(|_| Instant::now() < until) {
        let server = lab.udp_server(version);
        let client = lab.udp_client(version, tenant);
        let to = server.local_addr().unwrap();
        for number in 0..BURST {
            client.send_to(&payload(tenant, number), to).unwrap();
        }
        server
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut received = 0;
        // One by one, then as many as there are. A datagram may be lost, for a full queue.
        let mut buffer = [0; 8];
        if let Some((_, _, meta)) = timely(server.recv_from_meta(&mut buffer)) {
            received += 1;
            tally.count(lab, tenant_of(&buffer), meta);
        }
        while received < BURST && timely(server.recv_batch_meta(&mut batch)).is_some() {
            received += batch.len() as u32;
            for datagram in batch.iter() {
                tally.count(lab, tenant_of(datagram.data), datagram.meta);
            }
        }
    }
    tally
}

fn open_connections(lab: &Lab, version: IpVersion, first: u32, until: Instant) -> Tally {
    let mut tally = Tally::default();
    let listener = lab.listen(version);
    let tenants = Lab::TENANTS.cycle().skip(first as usize);
    for tenant in tenants.take_while(|_| Instant::now() < until) {
        let mut client = lab.connect(&listener, tenant);
        let (mut server, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        server.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(&payload(tenant, 0)).unwrap();
        let mut said = [0; 8];
        server.read_exact(&mut said).unwrap();
        tally.count(lab, tenant_of(&said), server.opening_meta());
        tally.count(lab, tenant_of(&said), server.packet_meta());
    }
    tally
}

#[test]
fn an_application_survives_the_datapath_and_uses_the_next_one() {
    in_sandbox(|sandbox| outlive(&Lab::up(sandbox)));
}

#[test]
fn an_application_that_cannot_map_the_ring_survives_the_datapath_and_uses_the_next_one() {
    in_sandbox(|sandbox| {
        hide_the_ring();
        outlive(&Lab::up(sandbox));
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
        let message = payload(tenant, 0);
        self.client
            .send_to(&message, self.server.local_addr().unwrap())
            .unwrap();
        let (_, _, meta) = self.server.recv_from_meta(&mut [0; 8]).unwrap();
        tally.count(lab, tenant, meta);
        (&self.peer).write_all(&message).unwrap();
        (&self.stream).read_exact(&mut [0; 8]).unwrap();
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
