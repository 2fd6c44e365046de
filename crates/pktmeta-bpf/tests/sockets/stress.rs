//! Everything at once, for as long as one likes: no record is ever wrong.

use crate::{
    lab::{LIMIT, Lab, hide_the_ring, set_option},
    tally::{Payload, Random, Tally},
    udp::{message::Message, sending::assert_same},
};
use pktmeta::{Batch, Carrier, TcpMeta, UdpMeta};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox_for},
};
use std::{
    io::{Read, Write},
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

/// How long, in seconds.
const VARIABLE: &str = "PKTMETA_STRESS_SECONDS";

fn duration() -> Duration {
    let seconds = std::env::var(VARIABLE).map_or(10, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// How long a test may take.
fn limit() -> Duration {
    duration() + Duration::from_secs(60)
}

/// How long to wait for a datagram that may be lost.
const PATIENCE: Duration = Duration::from_millis(100);

#[test]
fn under_stress_records_may_be_late_but_none_is_wrong() {
    in_sandbox_for(limit(), |sandbox| stress(&lab(sandbox)));
}

#[test]
fn under_stress_without_a_mapped_ring_no_record_is_wrong_either() {
    in_sandbox_for(limit(), |sandbox| {
        hide_the_ring();
        stress(&lab(sandbox));
    });
}

/// Hosts where packets overtake each other, and slow readers are late.
fn lab(sandbox: &Sandbox) -> Lab {
    let lab = Lab::up_with(sandbox, |options| options.slots = 256);
    lab.spread_flows();
    lab
}

fn stress(lab: &Lab) {
    let until = Instant::now() + duration();
    let mut report = Report::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (version, seed) in IpVersion::BOTH.into_iter().zip(1..) {
            let mut start = |work: fn(&Lab, IpVersion, Random, Instant) -> Report| {
                let random = Random::new(seed << 8 | threads.len() as u64);
                threads.push(scope.spawn(move || work(lab, version, random, until)));
            };
            start(flood_a_slow_reader);
            start(flood_a_small_queue);
            for _ in 0..2 {
                start(open_and_close_sockets);
                start(open_and_close_connections);
            }
        }
        for thread in threads {
            report.add(thread.join().unwrap());
        }
    });
    println!("{} s: {report}", duration().as_secs());
    report.check();
}

#[derive(Debug, Default)]
struct Report {
    sent: u64,
    datagrams: Tally,
    sockets: u64,
    segments: Tally,
    connections: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.datagrams += other.datagrams;
        self.sockets += other.sockets;
        self.segments += other.segments;
        self.connections += other.connections;
    }

    fn check(&self) {
        let (datagrams, segments) = (&self.datagrams, &self.segments);
        assert_eq!(
            (datagrams.mismatched, segments.mismatched),
            (0, 0),
            "{self}"
        );
        assert!(
            datagrams.absent.is_empty() && segments.absent.is_empty(),
            "{self}"
        );
        assert!(datagrams.right > 0 && segments.right > 0, "{self}");
        // It was stress.
        assert!(
            datagrams.overrun > 0 && datagrams.total() < self.sent,
            "{self}"
        );
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lost = self.sent - self.datagrams.total();
        write!(
            f,
            "datagrams of {} sockets: {}, {lost} lost; ",
            self.sockets, self.datagrams
        )?;
        write!(
            f,
            "records of {} connections: {}",
            self.connections, self.segments
        )
    }
}

/// One socket with a large queue, read when much more waits than the ring has slots.
fn flood_a_slow_reader(lab: &Lab, version: IpVersion, random: Random, until: Instant) -> Report {
    flood(
        lab,
        version,
        random,
        until,
        1 << 20,
        Duration::from_millis(20),
    )
}

/// One socket with a queue that is soon full.
fn flood_a_small_queue(lab: &Lab, version: IpVersion, random: Random, until: Instant) -> Report {
    flood(
        lab,
        version,
        random,
        until,
        16 << 10,
        Duration::from_micros(500),
    )
}

/// Sends in bursts to a reader that sleeps again and again.
fn flood(
    lab: &Lab,
    version: IpVersion,
    mut random: Random,
    until: Instant,
    queue: i32,
    sleep: Duration,
) -> Report {
    const BURST: u64 = 100;
    let server = lab.udp_server(version);
    server.enable_packet_meta().unwrap();
    set_option(&server, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, queue);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = server.local_addr().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let clients = Lab::TENANTS.map(|tenant| (tenant, lab.udp_client(version, tenant)));
            let clients: Vec<_> = clients.collect();
            let mut sent = 0;
            while Instant::now() < until {
                for _ in 0..BURST {
                    let (tenant, client) = random.choose(&clients);
                    let payload = Payload::new(*tenant, *tenant, sent);
                    client.send_to(&payload.to_bytes(), to).unwrap();
                    sent += 1;
                }
                thread::sleep(Duration::from_millis(5));
            }
            sent
        });
        let mut datagrams = Tally::default();
        let mut batch = Batch::new(32, Payload::SIZE);
        while server.recv_batch_meta(&mut batch).is_ok() || Instant::now() < until {
            for datagram in batch.iter() {
                datagrams.count_datagram(datagram.data, datagram.meta.copied());
            }
            thread::sleep(sleep);
        }
        Report {
            sent: sender.join().unwrap(),
            datagrams,
            sockets: 1,
            ..Report::default()
        }
    })
}

/// A new socket for every few datagrams, so that descriptors and ports are used again.
fn open_and_close_sockets(
    lab: &Lab,
    version: IpVersion,
    mut random: Random,
    until: Instant,
) -> Report {
    let mut report = Report::default();
    while Instant::now() < until {
        let server = lab.udp_server(version);
        let carrier = *random.choose(&[Carrier::Mark, Carrier::Priority, Carrier::Timestamp]);
        server.enable_packet_meta_in(carrier).unwrap();
        let tenant = 1 + random.below(8) as u32;
        let client = lab.udp_client(version, tenant);
        let sent = 1 + random.below(32);
        for number in 0..sent {
            let payload = Payload::new(tenant, 0, number);
            let to = server.local_addr().unwrap();
            client.send_to(&payload.to_bytes(), to).unwrap();
        }
        report.add(Report {
            sent,
            datagrams: read_all(&server, sent, &mut random),
            sockets: 1,
            ..Report::default()
        });
    }
    report
}

/// Reads so many datagrams, or less if some are lost: in batches, and singly after a look at them.
fn read_all(server: &UdpSocket, sent: u64, random: &mut Random) -> Tally {
    let mut tally = Tally::default();
    let (mut buffer, mut batch) = ([0; Payload::SIZE], Batch::new(8, Payload::SIZE));
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    while tally.total() < sent {
        if random.below(2) == 0 {
            let Ok(peeked) = Message::try_receive(server, Payload::SIZE, libc::MSG_PEEK) else {
                break;
            };
            let peeked = server.control_meta(&peeked.control);
            let meta = server.recv_from_meta(&mut buffer).unwrap().meta;
            if let (Ok(peeked), Ok(meta)) = (&peeked, &meta) {
                assert_same(peeked, meta);
            }
            tally.count_datagram(&buffer, meta);
        } else {
            if server.recv_batch_meta(&mut batch).is_err() {
                break;
            }
            for datagram in batch.iter() {
                tally.count_datagram(datagram.data, datagram.meta.copied());
            }
        }
    }
    tally
}

fn open_and_close_connections(
    lab: &Lab,
    version: IpVersion,
    mut random: Random,
    until: Instant,
) -> Report {
    let mut report = Report::default();
    let listener = lab.listen(version);
    let to = listener.local_addr().unwrap();
    while Instant::now() < until {
        let tenant = 1 + random.below(8) as u32;
        let opening = Payload::new(tenant, 0, 0).to_bytes();
        let mut client = lab.connect(to, tenant);
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        report.segments.count(&opening, server.opening_meta());
        report.connections += 1;
        for number in 0..random.below(8) {
            let payload = Payload::new(tenant, 0, number).to_bytes();
            client.write_all(&payload).unwrap();
            let mut said = [0; Payload::SIZE];
            server.read_exact(&mut said).unwrap();
            report.segments.count(&said, server.packet_meta());
            report.segments.count(&opening, server.opening_meta());
        }
    }
    report
}
