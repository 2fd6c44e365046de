//! Records that applications give, and records that others made, as the shared cases have them.

#[path = "../../../pktmeta-core/vectors/mod.rs"]
mod vectors;

use crate::{
    lab::{Lab, client_address},
    options::{Host, get, get_at, set, set_at},
    storage::Storage,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use libc::{EAGAIN, EINVAL, ENODATA, ENOENT, ENOSPC, EPERM};
use pktmeta::{TcpMeta, UdpMeta};
use pktmeta_bpf::{
    Datapath, HostRegistry, Removal, Senders,
    sockets::{SocketScope, SocketStatus},
};
use pktmeta_core::{FieldInfo, Record, Registry, TlvType, abi, registry::Refusal, schema::Schema};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};
use vectors::{Set, cases, random};

#[test]
fn the_last_place_is_read_at_sockets_and_so_is_the_first_hot_field_without_one() {
    const PLACES: usize = 15;
    let fields = (1..=PLACES + 1)
        .map(|n| format!("[[field]]\nname = \"hot{n}\"\ntype = \"u32\"\nhot = true\n"));
    let schema = format!("owner = \"places\"\n{}", fields.collect::<String>());
    in_sandbox(|sandbox| {
        let registry = HostRegistry::new(sandbox.bpffs());
        registry
            .register(&[Schema::parse("places.toml", &schema).unwrap()])
            .unwrap();
        let lab = Lab::up_with(sandbox, |options| {
            let from = client_address(IpVersion::V4, 1, 0).ip();
            for n in [PLACES, PLACES + 1] {
                let label = format!("{from}=hot{n}:{}", n * 0x0101_0101);
                let labels = options.labels.get_or_insert_default();
                labels.push(label.parse().unwrap());
            }
        });
        let registry = registry.read().unwrap();
        let places = registry
            .fields()
            .iter()
            .filter(|field| field.place.is_some());
        let last = places.clone().max_by_key(|field| field.place).unwrap();
        assert_eq!((places.count(), last.name.as_str()), (PLACES, "hot15"));

        let udp = lab.udp_server(IpVersion::V4);
        udp.enable_packet_meta().unwrap();
        let client = lab.udp_client(IpVersion::V4, 1);
        client.send_to(b"?", udp.local_addr().unwrap()).unwrap();
        let datagram = udp.recv_from_meta(&mut [0; 8]).unwrap().meta.unwrap();
        let listener = lab.listen(IpVersion::V4);
        let _client = lab.connect(listener.local_addr().unwrap(), 1);
        let (stream, _) = listener.accept().unwrap();
        let opening = stream.opening_meta().unwrap();
        for n in [PLACES, PLACES + 1] {
            let name = format!("hot{n}");
            let value = (n * 0x0101_0101) as u32;
            for meta in [datagram, opening] {
                assert_eq!(meta.value(&name).unwrap().to_string(), value.to_string());
            }
            let tlv = i32::from(registry.by_name(&name).unwrap().tlv.get());
            let answer = get(&stream, abi::PKTMETA_RX_SYN_FIELD + tlv);
            assert_eq!(answer, Ok(value.to_le_bytes().into()));
        }
    });
}

#[test]
fn what_applications_give_is_taken_or_refused_as_the_shared_cases_say() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        for socket in [lab.udp_server(IpVersion::V4), lab.udp_server(IpVersion::V6)] {
            for case in cases() {
                let said = give(&socket, &registry, &case.bytes);
                assert_eq!(said, case.set, "{}", case.name);
            }
        }
    });
}

#[test]
fn what_applications_give_is_taken_or_refused_as_in_rust() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        let socket = lab.udp_server(IpVersion::V4);
        for bytes in random(11, 10_000) {
            let wanted = match registry.given(&bytes) {
                Ok(Some(_)) => Set::Ok,
                Ok(None) => Set::Ends,
                Err(Refusal::NotPermitted(_)) => Set::NotPermitted,
                Err(_) => Set::Invalid,
            };
            assert_eq!(give(&socket, &registry, &bytes), wanted, "{bytes:02x?}");
        }
    });
}

#[test]
fn one_field_of_what_is_sent_has_a_value_of_its_type_or_is_refused() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        let socket = lab.udp_server(IpVersion::V4);
        let (mut taken, mut refused) = (0, 0);
        for field in registry.fields() {
            for size in 0..=70 {
                for byte in [0, 1, 2, 0xff] {
                    let value = vec![byte; size];
                    let option = abi::PKTMETA_TX_FIELD + i32::from(field.tlv.get());
                    let wanted = match registry.writable(field.tlv) {
                        Err(_) => Err(EPERM),
                        // A flag has no value; a byte that says 1 is welcome.
                        Ok(_) if field.kind.size() == 0 && value == [1] => Ok(()),
                        Ok(field) => field.check_given(&value).map_err(|_| EINVAL),
                    };
                    assert_eq!(set(&socket, option, &value), wanted, "{field:?} {value:?}");
                    if wanted.is_err() {
                        refused += 1;
                        continue;
                    }
                    taken += 1;
                    let wanted = if value.is_empty() { vec![1] } else { value };
                    assert_eq!(get(&socket, option), Ok(wanted), "{field:?}");
                    set(&socket, option + 0x100, &[0]).unwrap_err();
                    set(&socket, option + 0x100, &[]).unwrap();
                }
            }
        }
        assert!(taken > 20 && refused > 200, "{taken} {refused}");
    });
}

#[test]
fn an_odd_value_hides_its_field_and_no_other_as_in_rust() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        let (server, _client) = connection(&lab);
        let storage = Storage::open(sandbox);
        let types: Vec<u8> = registry.fields().iter().map(|it| it.tlv.get()).collect();
        let mut found = 0;
        let bytes = cases().into_iter().map(|case| case.bytes);
        for bytes in bytes.chain(random(12, 2_000)) {
            if bytes.len() > Record::CAPACITY {
                continue;
            }
            let mut kept = [0; Record::CAPACITY];
            kept[..bytes.len()].copy_from_slice(&bytes);
            keep(&storage, &server, 0, &kept);
            let record = Record::parse(&kept);
            let whole = record.as_ref().map(|record| record.as_bytes().to_vec());
            let whole = whole.map_err(|_| ENODATA);
            assert_eq!(get(&server, abi::PKTMETA_RX), whole, "{kept:02x?}");
            let value = |field: &FieldInfo| {
                let record = record.as_ref().map_err(|_| ENODATA)?;
                let is_there = field.value_in(record).is_some();
                let bytes = record.get(field.tag()).filter(|_| is_there);
                bytes.map(Vec::from).ok_or(ENOENT)
            };
            for types in types.chunks(abi::SELECTION_MAX) {
                set(&server, abi::PKTMETA_FIELDS, types).unwrap();
                let room = abi::SELECTION_MAX * abi::VALUE_SIZE;
                let all = get_at(&server, abi::SOL_PKTMETA, abi::PKTMETA_RX_FIELDS, room);
                let fields = registry.fields().iter();
                let fields = fields.filter(|field| types.contains(&field.tlv.get()));
                for (at, field) in fields.enumerate() {
                    let wanted = value(field);
                    let option = abi::PKTMETA_RX_FIELD + i32::from(field.tlv.get());
                    let one = wanted.clone();
                    let one = one.map(|it| if it.is_empty() { vec![1] } else { it });
                    assert_eq!(get(&server, option), one, "{field:?} of {kept:02x?}");
                    let Ok(all) = &all else {
                        assert_eq!(wanted, Err(ENODATA));
                        continue;
                    };
                    let selected = &all[at * abi::VALUE_SIZE..][..abi::VALUE_SIZE];
                    assert_eq!(selected[0], field.tlv.get());
                    let size = usize::from(selected[2]);
                    let read = match i32::from(selected[1]) {
                        0 => Ok(selected[abi::VALUE_AT..][..size].to_vec()),
                        status => Err(status),
                    };
                    found += usize::from(read.is_ok());
                    assert_eq!(read, wanted, "{field:?} of {kept:02x?}");
                }
            }
        }
        assert!(found > 500, "{found}");
    });
}

#[test]
fn a_record_that_is_being_written_is_not_read() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        let (server, _client) = connection(&lab);
        let storage = Storage::open(sandbox);
        let mut record = Record::new();
        let tenant = registry.by_name("tenant").unwrap();
        record.set(tenant.tag(), &[7, 0, 0, 0]).unwrap();
        let options = [
            abi::PKTMETA_RX,
            abi::PKTMETA_RX_SYN,
            abi::PKTMETA_RX_FIELD + i32::from(tenant.tlv.get()),
        ];
        for (version, is_being_written) in [(2, false), (3, true), (u32::MAX, true), (0, false)] {
            keep(&storage, &server, version, record.as_bytes());
            for option in options {
                let error = get(&server, option).err();
                assert_eq!(error, is_being_written.then_some(EAGAIN), "{version}");
            }
        }
    });
}

#[test]
fn a_record_that_is_being_written_is_neither_written_over_nor_listed() {
    in_sandbox(|sandbox| {
        let (lab, registry) = up(sandbox);
        let (mut server, mut client) = connection(&lab);
        let storage = Storage::open(sandbox);
        let mut record = Record::new();
        let tenant = registry.by_name("tenant").unwrap();
        record.set(tenant.tag(), &[7, 0, 0, 0]).unwrap();
        let socket = server.try_clone().unwrap();
        let mut segment = || {
            client.write_all(b"!").unwrap();
            server.read_exact(&mut [0]).unwrap();
        };
        let listed = || {
            let sockets = Datapath::new(sandbox.bpffs()).sockets(SocketScope::Stored);
            let is_it = |it: &SocketStatus| it.local == socket.local_addr().unwrap();
            let found = sockets.unwrap().into_iter().find(is_it);
            found.map_or((None, None), |it| (it.opening, it.latest))
        };
        for version in [1, 3, u32::MAX] {
            keep(&storage, &socket, version, record.as_bytes());
            let before = kept(&storage, &socket);
            segment();
            assert_eq!(kept(&storage, &socket), before);
            assert_eq!(listed(), (None, None));
        }
        keep(&storage, &socket, 4, record.as_bytes());
        let before = kept(&storage, &socket);
        assert_eq!(listed(), (Some(record), Some(record)));
        segment();
        let after = kept(&storage, &socket);
        assert_eq!(after[..4], 6u32.to_ne_bytes());
        assert_ne!(after[8..], before[8..]);
    });
}

#[test]
fn a_field_is_added_up_to_the_last_byte_of_a_record_and_no_further() {
    in_sandbox(|sandbox| {
        let host = Host::up_for(sandbox, Senders::All);
        let socket = host.lab.udp_server(IpVersion::V4);
        let registry = HostRegistry::new(sandbox.bpffs());
        let set_field = |name: &str, value: &[u8]| {
            let tlv = registry.read().unwrap().by_name(name).unwrap().tlv;
            set(&socket, abi::PKTMETA_TX_FIELD + i32::from(tlv.get()), value)
        };
        // All fields of a registry fit. With what the record has of removed fields, they need not.
        for name in ["key", "key_2", "key_3"] {
            if name != "key" {
                let text = format!(
                    "owner = \"late\"\n[[field]]\nname = \"{name}\"\ntype = \"bytes[64]\"\n\
                     writers = [\"app\"]\n"
                );
                let schema = Schema::parse("late.toml", &text).unwrap();
                registry.register(&[schema]).unwrap();
            }
            set_field(name, &[1; 64]).unwrap();
            let removed = Removal::Fields(vec![name.into()]);
            registry.remove(&removed).unwrap();
        }
        let room = Record::CAPACITY - Record::HEADER - 3 * (2 + 64);
        for (left, answer) in [(2, Err(ENOSPC)), (3, Ok(()))] {
            set_field("note", &vec![2; room - 2 - left]).unwrap();
            assert_eq!(set_field("class", &[3]), answer);
        }
        let longest = get(&socket, abi::PKTMETA_TX).unwrap();
        assert_eq!(longest.len(), Record::CAPACITY);
    });
}

#[test]
fn a_record_of_the_longest_length_is_kept_whole_and_a_longer_one_refused() {
    in_sandbox(|sandbox| {
        let host = Host::up_for(sandbox, Senders::All);
        let (tcp, _client) = host.connection(1);
        let udp = host.lab.udp_server(IpVersion::V6);
        let of = |length: usize| {
            let mut record = Record::new();
            record.set(host.tag("class"), &[1]).unwrap();
            let mut bytes = record.as_bytes().to_vec();
            let rest = length - bytes.len() - 2;
            bytes.extend([0, rest as u8]);
            bytes.resize(length, 0);
            bytes[3] = length as u8;
            bytes
        };
        let longest = of(Record::CAPACITY);
        let sockets: [&dyn AsFd; 2] = [&tcp, &udp];
        for socket in sockets {
            let socket = &socket.as_fd();
            set(socket, abi::PKTMETA_TX, &longest).unwrap();
            assert_eq!(get(socket, abi::PKTMETA_TX).as_ref(), Ok(&longest));
            let longer = set(socket, abi::PKTMETA_TX, &of(Record::CAPACITY + 1));
            assert_eq!(longer, Err(EINVAL));
            assert_eq!(get(socket, abi::PKTMETA_TX).as_ref(), Ok(&longest));
        }
        let ticket = abi::TX_TICKET as i32;
        set_at(&udp, abi::SOL_PKTMETA_DGRAM, ticket, &longest).unwrap();
    });
}

/// A datapath that takes the cases' fields for the host's. No area has room for all of them, so
/// that no command would register them.
fn up(sandbox: &Sandbox) -> (Lab, Registry) {
    let lab = Lab::up_for(sandbox, Senders::All);
    let map = MapHandle::from_pinned_path(HostRegistry::new(sandbox.bpffs()).path()).unwrap();
    let registry = vectors::registry();
    for at in 1..abi::FIELDS_MAX as u32 {
        let field = TlvType::new(at as u8).and_then(|tlv| registry.by_type(tlv));
        let entry = field.map_or(vec![0; FieldInfo::SIZE], |field| field.to_bytes().into());
        map.update(&at.to_ne_bytes(), &entry, MapFlags::ANY)
            .unwrap();
    }
    (lab, registry)
}

fn connection(lab: &Lab) -> (TcpStream, TcpStream) {
    let listener = lab.listen(IpVersion::V4);
    let client = lab.connect(listener.local_addr().unwrap(), 1);
    (listener.accept().unwrap().0, client)
}

/// What the kernel says of bytes as the record of a socket, and of a ticket. What is refused
/// changes nothing.
#[track_caller]
fn give(socket: &UdpSocket, registry: &Registry, bytes: &[u8]) -> Set {
    let sampled = registry.by_name("sampled").unwrap();
    let mut before = Record::new();
    before.set(sampled.tag(), &[]).unwrap();
    set(socket, abi::PKTMETA_TX, before.as_bytes()).unwrap();
    let said = set(socket, abi::PKTMETA_TX, bytes);
    let ticket = (abi::TX_TICKET | 5) as i32;
    let of_ticket = set_at(socket, abi::SOL_PKTMETA_DGRAM, ticket, bytes);
    assert_eq!(said, of_ticket, "{bytes:02x?}");
    let after = get(socket, abi::PKTMETA_TX);
    match said {
        Ok(()) if after == Err(ENODATA) => Set::Ends,
        Ok(()) => {
            let mut wanted = bytes.to_vec();
            wanted[2] &= 0xf0; // whoever made it knows nothing of the host's places
            assert_eq!(after, Ok(wanted));
            Set::Ok
        }
        Err(error) => {
            assert_eq!(after.as_deref(), Ok(before.as_bytes()), "{bytes:02x?}");
            match error {
                EINVAL => Set::Invalid,
                EPERM => Set::NotPermitted,
                other => panic!("{bytes:02x?}: {other}"),
            }
        }
    }
}

/// What a connection keeps: version, whether it has a history, both records.
fn kept(storage: &Storage, socket: &TcpStream) -> Vec<u8> {
    let key = socket.as_raw_fd().to_ne_bytes();
    let kept = storage.map("connections").lookup(&key, MapFlags::ANY);
    kept.unwrap().unwrap()
}

/// Makes these bytes both records that a connection keeps.
fn keep(storage: &Storage, socket: &TcpStream, version: u32, bytes: &[u8]) {
    let mut record = [0; Record::CAPACITY];
    record[..bytes.len()].copy_from_slice(bytes);
    let value = [&version.to_ne_bytes()[..], &[0; 4], &record, &record].concat();
    let key = socket.as_raw_fd().to_ne_bytes();
    let connections = storage.map("connections");
    connections.update(&key, &value, MapFlags::ANY).unwrap();
}
