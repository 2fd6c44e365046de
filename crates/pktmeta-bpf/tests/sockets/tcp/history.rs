//! The record of each byte of a stream.

use super::*;
use crate::{lab::TENANT, tally::Random};
use peer::Peer;
use pktmeta_bpf::UpOptions;
use std::{
    collections::BTreeMap,
    net::Shutdown,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

/// Segments that are remembered.
const SEGMENTS: usize = 32;

/// Streams whose sequence numbers wrap: at once, soon, after some segments, and not.
const FIRST: [u32; 4] = [0, u32::MAX - 2, u32::MAX - 200, 0x7fff_ff00];

#[test]
fn each_request_has_the_record_of_its_own_segment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            let client = lab.connect(listener.local_addr().unwrap(), 3);
            assert_requests(&client, &accept(&listener), 3, 0);
        }
    });
}

#[test]
fn each_answer_to_a_client_has_the_record_of_its_own_segment() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let peer = listen(lab.hosts.client(), client_address(version, 4, 0));
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            socket.as_fd().remember_segments().unwrap();
            socket.connect(&peer.local_addr().unwrap().into()).unwrap();
            assert_requests(&accept(&peer), &socket.into(), 4, 0);
        }
    });
}

#[test]
fn a_connection_told_to_remember_while_it_connects_does_so_from_its_first_byte_on() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let peer = listen(lab.hosts.client(), client_address(version, 4, 0));
            let to = peer.local_addr().unwrap();
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            socket.set_nonblocking(true).unwrap();
            lab.lose_what_is_sent_to(to.ip());
            let connecting = socket.connect(&to.into()).unwrap_err();
            assert_eq!(connecting.raw_os_error(), Some(libc::EINPROGRESS));
            socket.as_fd().remember_segments().unwrap();
            lab.find(to.ip());
            // The SYN is sent again after a second.
            let client = accept(&peer);
            socket.set_nonblocking(false).unwrap();
            assert_requests(&client, &socket.into(), 4, 0);
        }
    });
}

#[test]
fn what_came_before_the_connection_was_to_remember_is_forgotten() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let mut client = lab.connect(listener.local_addr().unwrap(), 5);
            let mut socket = accept(&listener);
            say(&client, &socket);
            client.write_all(b"not read yet").unwrap();
            let mut unread = [0; 12];
            assert_eq!(socket.peek(&mut unread[..1]).unwrap(), 1);
            socket.remember_segments().unwrap();
            socket.read_exact(&mut unread).unwrap();
            for position in 0..13 {
                assert_forgotten(&socket, position);
            }
            assert_requests(&client, &socket, 5, 13);
        }
    });
}

#[test]
fn a_stream_that_begins_in_the_syn_has_its_record_there() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (client, server) = (lab.hosts.client(), lab.hosts.server());
        for netns in [client, server] {
            set_sysctl(netns, "tcp_fastopen", "3"); // to connect, and to listen
        }
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 8);
            for opened_with_data in [false, true, true] {
                let socket = tcp_socket(client, client_address(version, 6, 0));
                set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1);
                let address = listener.local_addr().unwrap();
                socket.connect(&address.into()).unwrap();
                (&socket).write_all(b"hello").unwrap();
                let mut accepted = accept(&listener);
                accepted.read_exact(&mut [0; 5]).unwrap();
                let opening = number(&accepted.opening_meta().unwrap());
                for position in 0..5 {
                    let with_the_syn = number_at(&accepted, position) == opening;
                    assert_eq!(with_the_syn, opened_with_data);
                }
                assert_requests(&socket.into(), &accepted, 6, 5);
            }
        }
    });
}

#[test]
fn a_stream_that_begins_in_the_ack_of_the_handshake_has_its_record_there() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5);
            let mut client = lab.connect(listener.local_addr().unwrap(), 7);
            client.write_all(b"hello").unwrap();
            let mut socket = accept(&listener);
            socket.read_exact(&mut [0; 5]).unwrap();
            let latest = number(&socket.packet_meta().unwrap());
            for position in 0..5 {
                assert_eq!(number_at(&socket, position), latest);
            }
            assert_requests(&client, &socket, 7, 5);
        }
    });
}

#[test]
fn a_socket_that_connects_again_remembers_only_its_new_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            socket.as_fd().remember_segments().unwrap();
            let mut before: Option<TcpStream> = None;
            for tenant in Lab::TENANTS {
                let peer = listen(lab.hosts.client(), client_address(version, tenant, 0));
                socket.connect(&peer.local_addr().unwrap().into()).unwrap();
                let peer = accept(&peer);
                assert_eq!(meta_at(&socket.as_fd(), 0), Err(Missing::NotArrived));
                let connection: TcpStream = socket.try_clone().unwrap().into();
                assert_requests(&peer, &connection, tenant, 0);
                before.replace(peer);
                reuse::disconnect(&socket);
            }
        }
    });
}

#[test]
fn a_byte_has_the_record_of_its_first_copy_whatever_the_order() {
    in_sandbox(|sandbox| {
        with_peers(sandbox, |peer| {
            let mut arrived = Arrived::default();
            // With gaps, then the gaps, copies, and some that overlap what came before.
            for (position, length) in [
                (0, 10),
                (20, 10),
                (40, 10),
                (20, 10),
                (10, 10),
                (0, 30),
                (35, 10),
                (25, 40),
                (60, 1),
                (64, 2),
                (0, 100),
            ] {
                arrived.send(peer, position, length);
                arrived.check(peer);
            }
        });
    });
}

#[test]
fn a_byte_has_the_record_of_its_first_copy_in_orders_of_chance() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let mut random = Random::new(1);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            for (tenant, first) in Lab::TENANTS.zip(FIRST.repeat(2)) {
                let peer = Peer::connect(&lab, &listener, tenant, first);
                // Some come before these, so that the table of segments begins anywhere.
                let earlier = random.below(SEGMENTS as u64) as usize;
                for position in 0..earlier {
                    peer.send(position, 1);
                }
                let mut arrived = Arrived::behind(earlier);
                let chance = |_| (random.below(400) as usize, 1 + random.below(80) as usize);
                let mut segments: Vec<_> = (1..SEGMENTS).map(chance).collect();
                segments.push((0, 480)); // all of it, in the end
                for (position, length) in segments {
                    arrived.send(&peer, position, length);
                }
                arrived.check(&peer);
            }
        }
    });
}

#[test]
fn segments_that_tcp_does_not_take_are_not_remembered() {
    in_sandbox(|sandbox| {
        with_peers(sandbox, |peer| {
            let mut arrived = Arrived::default();
            arrived.send(peer, 0, 10);
            for _ in 0..SEGMENTS {
                arrived.send(peer, 0, 10); // once more
                peer.send_outside(1 << 30, 10);
            }
            arrived.check(peer);
            assert_eq!(meta_at(peer.socket(), 1 << 30), Err(Missing::NotArrived));
        });
    });
}

#[test]
fn the_latest_segments_are_remembered_and_the_others_forgotten() {
    in_sandbox(|sandbox| {
        with_peers(sandbox, |peer| {
            let numbers: Vec<_> = (0..100).map(|position| peer.send(position, 1)).collect();
            let (forgotten, known) = numbers.split_at(100 - SEGMENTS);
            for position in 0..forgotten.len() {
                assert_forgotten(peer.socket(), position as u64);
            }
            for (number, position) in known.iter().zip(forgotten.len() as u64..) {
                assert_eq!(number_at(peer.socket(), position), *number);
            }
        });
    });
}

#[test]
fn a_byte_behind_the_end_of_a_stream_has_not_arrived() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            for bytes in [0, 1, 10] {
                let mut client = lab.connect(listener.local_addr().unwrap(), 2);
                let (mut server, _) = listener.accept().unwrap();
                client.write_all(&vec![b'!'; bytes]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(server.read_to_end(&mut Vec::new()).unwrap(), bytes);
                let check = || {
                    for position in 0..bytes {
                        number_at(&server, position as u64);
                    }
                    for position in bytes..bytes + 3 {
                        let missing = meta_at(&server, position as u64);
                        assert_eq!(missing, Err(Missing::NotArrived), "{position} of {bytes}");
                    }
                };
                check();
                server.shutdown(Shutdown::Write).unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
                check();
            }
        }
    });
}

#[test]
fn a_stream_ends_behind_its_last_byte_whatever_came_last() {
    in_sandbox(|sandbox| {
        with_peers(sandbox, |peer| {
            for (position, length) in [(0, 10), (20, 10), (10, 10)] {
                peer.send(position, length);
            }
            peer.finish(30);
            let mut read = Vec::new();
            assert_eq!(peer.socket().read_to_end(&mut read).unwrap(), 30);
            for position in 30..33 {
                let missing = meta_at(peer.socket(), position);
                assert_eq!(missing, Err(Missing::NotArrived), "{position}");
            }
        });
    });
}

#[test]
fn a_byte_more_than_two_gibibytes_back_is_forgotten_and_not_one_to_come() {
    /// Read without being copied (tcp(7), `MSG_TRUNC`).
    fn skip(socket: &TcpStream) -> usize {
        let (socket, at_most) = (socket.as_raw_fd(), 1 << 20);
        // SAFETY: with MSG_TRUNC nothing is written to the buffer.
        let skipped = unsafe { libc::recv(socket, ptr::null_mut(), at_most, libc::MSG_TRUNC) };
        usize::try_from(skipped).unwrap()
    }
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = lab.listen(IpVersion::V4);
        listener.remember_segments().unwrap();
        let address = listener.local_addr().unwrap();
        // Over loopback, where segments are large.
        let client = lab.hosts.server().run(|| TcpStream::connect(address));
        let (server, _) = listener.accept().unwrap();
        let sender = thread::spawn(move || {
            let mut client = client.unwrap();
            let some = vec![0; 1 << 20];
            // A little more than 2 GiB.
            (0..=2 << 10).for_each(|_| client.write_all(&some).unwrap());
        });
        let mut received = 0;
        loop {
            match skip(&server) {
                0 => break,
                skipped => received += skipped as u64,
            }
        }
        sender.join().unwrap();
        assert!(received > 1 << 31);
        for back in [1 << 30, 1 << 31, received] {
            assert_forgotten(&server, received - back);
        }
        assert!(server.meta_at(received - 1).unwrap().is_absent());
        for ahead in [0, (1 << 30) - 1] {
            let missing = meta_at(&server, received + ahead);
            assert_eq!(missing, Err(Missing::NotArrived));
        }
    });
}

#[test]
fn a_segment_without_a_record_is_remembered_as_one() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            let peer = Peer::connect(&lab, &listener, 2, 1);
            let first = peer.send(0, 4);
            peer.send_unlabelled(4, 4);
            let third = peer.send(8, 4);
            for position in 0..4 {
                assert_eq!(number_at(peer.socket(), position), first);
                assert!(peer.socket().meta_at(4 + position).unwrap().is_absent());
                assert_eq!(number_at(peer.socket(), 8 + position), third);
            }
        }
    });
}

#[test]
fn each_byte_of_merged_segments_has_their_record() {
    const LENGTH: usize = 1 << 20;
    in_sandbox(|sandbox| {
        // Only packets with equal records are merged: those of a flow are, by default.
        let lab = Lab::up_with(sandbox, |options| {
            options.produce = UpOptions::PRODUCE.map(String::from).into();
        });
        lab.enable_gro();
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            listener.remember_segments().unwrap();
            let mut client = lab.connect(listener.local_addr().unwrap(), 1);
            let mut socket = accept(&listener);
            let before = tcp_counter(lab.hosts.server(), "InSegs");
            thread::scope(|scope| {
                scope.spawn(|| client.write_all(&vec![0; LENGTH]).unwrap());
                socket.read_exact(&mut vec![0; LENGTH]).unwrap();
            });
            let segments = tcp_counter(lab.hosts.server(), "InSegs") - before;
            assert!(segments < LENGTH as u64 / 1500 / 4, "{segments}");
            // More than what the segments have that were not merged.
            for behind in 1..=SEGMENTS * 1500 {
                let meta = socket.meta_at((LENGTH - behind) as u64).unwrap();
                assert_labelled(&meta, 1);
            }
        }
    });
}

/// Connections that remember segments, of each version, from sequence numbers that wrap and do not.
#[track_caller]
fn with_peers(sandbox: &Sandbox, mut test: impl FnMut(&Peer<'_>)) {
    let lab = Lab::up(sandbox);
    for version in IpVersion::BOTH {
        let listener = lab.listen(version);
        listener.remember_segments().unwrap();
        for (tenant, first) in Lab::TENANTS.zip(FIRST) {
            test(&Peer::connect(&lab, &listener, tenant, first));
        }
    }
}

/// Which packet brought the first copy of each byte.
#[derive(Default)]
struct Arrived {
    /// So many bytes of the stream came before, and are not looked at.
    earlier: usize,
    /// By position behind those.
    numbers: BTreeMap<usize, u64>,
}

impl Arrived {
    fn behind(earlier: usize) -> Self {
        Self {
            earlier,
            ..Self::default()
        }
    }

    #[track_caller]
    fn send(&mut self, peer: &Peer<'_>, position: usize, length: usize) {
        if position + length <= self.whole() {
            return peer.send_again(self.earlier + position, length);
        }
        let number = peer.send(self.earlier + position, length);
        for position in position..position + length {
            self.numbers.entry(position).or_insert(number);
        }
    }

    /// How much has arrived without a gap.
    fn whole(&self) -> usize {
        let without_gap = |(at, position): &(usize, &usize)| at == *position;
        self.numbers
            .keys()
            .enumerate()
            .take_while(without_gap)
            .count()
    }

    /// That is what the connection says, and that the others have not arrived.
    #[track_caller]
    fn check(&self, peer: &Peer<'_>) {
        for position in 0..500 {
            let expected = self
                .numbers
                .get(&position)
                .copied()
                .ok_or(Missing::NotArrived);
            let found = meta_at(peer.socket(), (self.earlier + position) as u64);
            assert_eq!(found, expected, "byte {position}");
        }
        let whole = self.earlier + self.whole();
        let mut read = vec![0; whole + 1];
        assert_eq!(peer.socket().peek(&mut read).unwrap(), whole);
        assert_eq!(read[..whole], Peer::stream(0, whole));
    }
}

/// Why there is no record of a byte.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    NotArrived,
    Forgotten,
}

/// The number of the packet with a byte.
#[track_caller]
fn meta_at(socket: &impl TcpMeta, position: u64) -> Result<u64, Missing> {
    match socket.meta_at(position) {
        Ok(meta) => Ok(number(&meta)),
        Err(Error::NotArrived) => Err(Missing::NotArrived),
        Err(Error::Forgotten) => Err(Missing::Forgotten),
        Err(error) => panic!("{error:?}"),
    }
}

#[track_caller]
fn number_at(socket: &TcpStream, position: u64) -> u64 {
    meta_at(socket, position).unwrap()
}

#[track_caller]
fn assert_forgotten(socket: &TcpStream, position: u64) {
    assert_eq!(meta_at(socket, position), Err(Missing::Forgotten));
}

/// As a proxy does it: from `position` on, each request that it reads has the record of the segment
/// that brought it, and the next has not arrived.
#[track_caller]
fn assert_requests(mut peer: &TcpStream, mut socket: &TcpStream, tenant: u32, mut position: u64) {
    let mut latest = number(&socket.opening_meta().unwrap());
    for length in 1..=2 * SEGMENTS {
        assert_eq!(meta_at(socket, position), Err(Missing::NotArrived));
        peer.write_all(&vec![b'?'; length]).unwrap();
        socket.read_exact(&mut vec![0; length]).unwrap();
        let meta = socket.meta_at(position).unwrap();
        assert_eq!(meta.get(TENANT), Some(tenant));
        assert!(number(&meta) > latest);
        latest = number(&meta);
        assert_eq!(number(&socket.packet_meta().unwrap()), latest);
        position += length as u64;
        assert_eq!(number_at(socket, position - 1), latest);
    }
}
