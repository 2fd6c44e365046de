//! The rings that applications map: whose they are, and what stands in them.

use super::{message::Message, sending::send};
use crate::lab::{LIMIT, Lab, assert_labelled, get_option, in_child};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta::UdpMeta;
use pktmeta_bpf::{Datapath, UpOptions};
use pktmeta_core::{Record, abi};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

/// Somebody without privileges: nobody.
const USER: u32 = 65534;

/// A datapath that delivers to two cgroups.
struct TwoCgroups {
    lab: Lab,
    /// Its directory is [`USER`]'s.
    his: PathBuf,
    /// Its directory is root's.
    roots: PathBuf,
}

impl TwoCgroups {
    fn up(sandbox: &Sandbox) -> Self {
        let [his, roots] = ["his", "roots"].map(|name| sandbox.cgroup().join(name));
        for cgroup in [&his, &roots] {
            fs::create_dir(cgroup).unwrap();
        }
        chown(&his, Some(USER), Some(USER)).unwrap();
        let lab = Lab::up_with(sandbox, |options| options.cgroup = Some(his.clone()));
        let other = UpOptions {
            cgroup: Some(roots.clone()),
            ..UpOptions::default()
        };
        Datapath::new(sandbox.bpffs()).up(&other).unwrap();
        Self { lab, his, roots }
    }

    /// Runs a closure as an application in a cgroup, of a user, on the server.
    #[track_caller]
    fn run(&self, cgroup: &Path, user: u32, application: impl FnOnce()) {
        in_child(|| {
            fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
            // Not dropped: without privileges there is no way back.
            std::mem::forget(self.lab.hosts.server().enter());
            become_user(user);
            application();
        });
    }
}

#[test]
fn the_owner_of_a_cgroup_maps_its_ring_and_others_ask_for_each_record() {
    in_sandbox(|sandbox| {
        let host = TwoCgroups::up(sandbox);
        let rings = [&host.his, &host.roots].map(|cgroup| ring_of(sandbox, cgroup));
        for version in IpVersion::BOTH {
            for (cgroup, user, may) in [
                (&host.his, USER, [true, false]),
                (&host.roots, USER, [true, false]),
                (&host.his, USER - 1, [false, false]),
                (&host.roots, 0, [true, true]),
            ] {
                let own = usize::from(cgroup == &host.roots);
                let client = host.lab.udp_client(version, 7);
                let to = host.lab.server_address(version, 0);
                host.run(cgroup, user, || {
                    for (ring, may) in rings.iter().zip(may) {
                        assert_eq!(open(ring).is_ok(), may, "{user} and {}", ring.display());
                    }
                    let server = application(to);
                    client
                        .send_to(b"hello", server.local_addr().unwrap())
                        .unwrap();
                    let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                    assert_labelled(&meta.unwrap(), 7);
                    assert_eq!(maps_a_ring(), may[own], "{user} in {}", cgroup.display());
                });
            }
        }
    });
}

#[test]
fn a_ring_has_no_record_of_another_cgroups_socket() {
    const EACH: usize = 20;
    in_sandbox(|sandbox| {
        let host = TwoCgroups::up(sandbox);
        let (his, roots) = (&host.his, &host.roots);
        for (round, (version, cgroup, other)) in [
            (IpVersion::V4, his, roots),
            (IpVersion::V6, roots, his),
            (IpVersion::V6, his, roots),
            (IpVersion::V4, roots, his),
        ]
        .into_iter()
        .enumerate()
        {
            let client = host.lab.udp_client(version, 7);
            let to = host.lab.server_address(version, 0);
            let [own, other] = [cgroup, other].map(|cgroup| ring_of(sandbox, cgroup));
            host.run(cgroup, 0, || {
                let server = application(to);
                for _ in 0..EACH {
                    client
                        .send_to(b"hello", server.local_addr().unwrap())
                        .unwrap();
                    let meta = server.recv_from_meta(&mut [0; 16]).unwrap().meta;
                    assert_labelled(&meta.unwrap(), 7);
                }
                let cookie = cookie(&server);
                let of_server = |slot: &&Slot| slot.cookie == cookie;
                assert_eq!(Slot::all(&own).iter().filter(of_server).count(), EACH);
                let others = Slot::all(&other);
                assert_eq!(others.iter().filter(of_server).count(), 0);
                // Of the rounds before. Not even a ticket that is right tells him anything.
                assert_eq!(others.len(), EACH * round.div_ceil(2));
                for slot in others {
                    let answer = get_option(&server, abi::SOL_PKTMETA_DGRAM, slot.ticket as i32);
                    assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ESTALE));
                }
            });
        }
    });
}

#[test]
fn a_slot_has_the_ticket_the_socket_and_the_record_that_its_reader_is_told() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let ring = ring_of(sandbox, sandbox.cgroup());
        for version in IpVersion::BOTH {
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            for tenant in Lab::TENANTS {
                send(&lab, &server, tenant, b"hello");
                let message = Message::receive(&server, 16, 0);
                let meta = server.control_meta(&message.control).unwrap();
                assert_labelled(&meta, tenant);
                let ticket = message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap();
                let slot = Slot::read(&open(&ring).unwrap(), ticket);
                assert_eq!((slot.ticket, slot.displaced), (ticket, 0));
                assert_eq!(slot.cookie, cookie(&server));
                let record = meta.record().unwrap().as_bytes();
                assert_eq!(&slot.record[..record.len()], record);
                let answer = get_option(&server, abi::SOL_PKTMETA_DGRAM, ticket as i32);
                assert_eq!(answer.unwrap(), record);
            }
        }
    });
}

#[test]
fn tickets_go_on_when_their_numbers_are_used_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, |options| options.slots = 64);
        let issued = ring_of(sandbox, sandbox.cgroup()).with_file_name("issued");
        let issued = MapHandle::from_pinned_path(issued).unwrap();
        for version in IpVersion::BOTH {
            let last = (u32::MAX - 5).to_ne_bytes().to_vec();
            let counters = vec![last; libbpf_rs::num_possible_cpus().unwrap()];
            issued
                .update_percpu(&[0; 4], &counters, MapFlags::ANY)
                .unwrap();
            let server = lab.udp_server(version);
            server.enable_packet_meta().unwrap();
            let mut tickets = BTreeSet::new();
            for tenant in Lab::TENANTS.cycle().take(100) {
                send(&lab, &server, tenant, b"hello");
                let message = Message::receive(&server, 16, 0);
                let ticket = message.number(libc::SOL_SOCKET, libc::SO_MARK).unwrap();
                assert!(ticket >= 64, "{ticket} says that there is no record");
                assert!(tickets.insert(ticket), "{ticket} was issued twice");
                assert_labelled(&server.control_meta(&message.control).unwrap(), tenant);
            }
            assert!(tickets.first() < Some(&256), "{tickets:?}");
        }
    });
}

/// What an application does that was started by itself.
fn application(address: SocketAddr) -> UdpSocket {
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(LIMIT)).unwrap();
    server.enable_packet_meta().unwrap();
    server
}

/// Gives up all privileges, unless the user is root.
fn become_user(user: u32) {
    if user == 0 {
        return;
    }
    // SAFETY: they take numbers; a list of no groups is not read.
    let results = unsafe {
        [
            libc::setgroups(0, std::ptr::null()),
            libc::setresgid(user, user, user),
            libc::setresuid(user, user, user),
        ]
    };
    assert_eq!(results, [0; 3], "{}", std::io::Error::last_os_error());
}

/// Where a cgroup's ring is pinned.
pub(crate) fn ring_of(sandbox: &Sandbox, cgroup: &Path) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let id = fs::metadata(cgroup).unwrap().ino();
    let pins = sandbox.bpffs().join("pktmeta/cgroups");
    pins.join(id.to_string()).join("ring")
}

pub(crate) fn open(ring: &Path) -> libbpf_rs::Result<MapHandle> {
    MapHandle::from_pinned_path(ring)
}

/// True if this process has a BPF map in its memory.
fn maps_a_ring() -> bool {
    let mappings = fs::read_to_string("/proc/self/maps").unwrap();
    mappings.contains("bpf-map")
}

/// `SO_COOKIE`.
pub(crate) fn cookie(socket: &UdpSocket) -> u64 {
    let cookie = get_option(socket, libc::SOL_SOCKET, libc::SO_COOKIE).unwrap();
    u64::from_ne_bytes(cookie.try_into().unwrap())
}

/// What stands in a ring, at the offsets of `docs/abi.md`.
pub(crate) struct Slot {
    pub(crate) ticket: u32,
    pub(crate) displaced: u32,
    pub(crate) cookie: u64,
    pub(crate) record: Vec<u8>,
}

impl Slot {
    /// The slot of a ticket.
    pub(crate) fn read(ring: &MapHandle, ticket: u32) -> Self {
        let slots = ring.max_entries() - 1;
        let value = ring.lookup(&(ticket % slots).to_ne_bytes(), MapFlags::ANY);
        let value = value.unwrap().unwrap();
        Self {
            ticket: u32::from_ne_bytes(*value[..].first_chunk().unwrap()),
            displaced: u32::from_ne_bytes(*value[4..].first_chunk().unwrap()),
            cookie: u64::from_ne_bytes(*value[8..].first_chunk().unwrap()),
            record: value[16..][..Record::CAPACITY].to_vec(),
        }
    }

    /// Those that were written.
    fn all(ring: &Path) -> Vec<Self> {
        let ring = open(ring).unwrap();
        let slots = (0..ring.max_entries() - 1).map(|index| Self::read(&ring, index));
        slots.filter(|slot| slot.ticket != 0).collect()
    }
}
