//! Datagrams, each with its tenant and number in the payload.

use super::{
    lab::{Family, Lab, TENANT},
    tally::Datagrams,
};
use anyhow::Context;
use indicatif::ProgressBar;
use pktmeta::{Batch, Error, PacketMeta, UdpMeta, builtin};
use pktmeta_testkit::traffic::UdpSender;
use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Sends `count` datagrams and checks the record of each that arrives.
pub(super) fn exchange(
    lab: &Lab,
    family: Family,
    count: u64,
    progress: &ProgressBar,
) -> anyhow::Result<Datagrams> {
    let socket = lab
        .hosts
        .server()
        .run(|| UdpSocket::bind(lab.server(family)));
    let socket = socket.context("open the server's UDP socket")?;
    socket.enable_packet_meta()?;
    socket.set_read_timeout(Some(POLL))?;
    let received = AtomicU64::new(0);
    let all_sent = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, lab, &received, &all_sent));
        let sent = send(lab, family, count, &received, progress);
        all_sent.store(true, Ordering::Release);
        let mut datagrams = receiver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        datagrams.sent = sent?;
        progress.finish_and_clear();
        Ok(datagrams)
    })
}

/// How many datagrams go out in one system call, all from one tenant.
const BURST: u64 = 32;
/// How many may be on their way: fewer than a veth's ring holds (256).
const IN_FLIGHT: u64 = 128;
/// How long to wait for datagrams that may be lost.
const STALL: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

/// Tenant, then number, as the payload carries them.
const PAYLOAD: usize = 16;

fn send(
    lab: &Lab,
    family: Family,
    count: u64,
    received: &AtomicU64,
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let sockets: Result<Vec<_>, _> = (1..=Lab::TENANTS)
        .map(|tenant| {
            lab.hosts
                .client()
                .run(|| UdpSocket::bind(lab.client(family, tenant)))
        })
        .collect();
    let sockets = sockets.context("open the client's UDP sockets")?;
    let mut sent = 0;
    let mut lost = 0;
    for (tenant, socket) in (1..=Lab::TENANTS).zip(&sockets).cycle() {
        let burst = BURST.min(count - sent);
        if burst == 0 {
            break;
        }
        let sender = UdpSender::new(lab.server(family))
            .count(burst)
            .payload_len(PAYLOAD);
        let report = sender.run_on(socket, |number, payload| {
            payload[..4].copy_from_slice(&tenant.to_be_bytes());
            payload[8..].copy_from_slice(&(sent + number).to_be_bytes());
        });
        sent += report.context("send datagrams")?.sent;
        let waiting = Instant::now();
        while sent - lost - received.load(Ordering::Acquire) > IN_FLIGHT {
            if waiting.elapsed() > STALL {
                lost = sent - received.load(Ordering::Acquire);
                break;
            }
            std::thread::yield_now();
        }
        progress.set_position(sent);
    }
    Ok(sent)
}

fn receive(
    socket: &UdpSocket,
    lab: &Lab,
    received: &AtomicU64,
    all_sent: &AtomicBool,
) -> anyhow::Result<Datagrams> {
    let mut datagrams = Datagrams::default();
    let mut batch = Batch::new(BURST as usize, 64);
    let mut checker = Checker::new(lab);
    loop {
        // Read it before the call: datagrams sent by then are in the queue, or lost.
        let last = all_sent.load(Ordering::Acquire);
        match socket.recv_batch_meta(&mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && last => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error).context("receive datagrams"),
        }
        for datagram in batch.iter() {
            datagrams.delivered += 1;
            match &datagram.meta {
                Ok(meta) if meta.is_absent() => datagrams.unlabelled += 1,
                Ok(meta) => {
                    datagrams.labelled += 1;
                    datagrams.mismatched += u64::from(!checker.is_right(datagram.data, meta));
                }
                Err(Error::Overrun) => datagrams.overrun += 1,
                Err(error) => return Err(error.clone()).context("read a datagram's record"),
            }
        }
        received.store(datagrams.delivered, Ordering::Release);
    }
    Ok(datagrams)
}

/// Checks the record of each datagram. A veth pair delivers in order, so of two datagrams the
/// one sent later has the higher packet number: a record of a neighbour cannot pass.
struct Checker {
    ifindex: u32,
    last: Option<(u64, u64)>,
}

impl Checker {
    fn new(lab: &Lab) -> Self {
        Self {
            ifindex: lab.hosts.server_ifindex(),
            last: None,
        }
    }

    fn is_right(&mut self, payload: &[u8], meta: &PacketMeta) -> bool {
        let Some((tenant, number)) = parse(payload) else {
            return false;
        };
        let Some(packet_number) = meta.get(builtin::PACKET_NUMBER) else {
            return false;
        };
        // At least as many packets were seen in between as were sent in between and got through.
        let in_order = self.last.is_none_or(|(last_number, last_packet)| {
            number > last_number && packet_number > last_packet
        });
        self.last = Some((number, packet_number));
        in_order
            && meta.get(TENANT) == Some(tenant)
            && meta.get(builtin::RX_IFINDEX) == Some(self.ifindex)
            && meta.get(builtin::RX_TIMESTAMP).is_some()
            && meta.get(builtin::FLOW_HASH).is_some()
    }
}

fn parse(payload: &[u8]) -> Option<(u32, u64)> {
    let payload: &[u8; PAYLOAD] = payload.try_into().ok()?;
    let tenant = u32::from_be_bytes(payload[..4].try_into().ok()?);
    let number = u64::from_be_bytes(payload[8..].try_into().ok()?);
    Some((tenant, number))
}
