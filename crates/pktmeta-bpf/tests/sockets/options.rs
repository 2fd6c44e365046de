//! The socket options as `docs/abi.md` says them, by plain system calls.

use crate::{
    lab::{LIMIT, Lab, TENANT, down, in_child},
    storage::Storage,
};
use libc::{EAGAIN, EINVAL, EMSGSIZE, ENODATA, ENOENT, ENOPROTOOPT, EPERM, EPROTOTYPE, ESTALE};
use pktmeta::{Record, TcpMeta, builtin};
use pktmeta_bpf::{HostRegistry, Removal, Senders};
use pktmeta_core::{FieldInfo, Registry, abi, schema::Schema};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

#[test]
fn one_field_is_its_value_and_an_absent_one_is_an_error() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let (server, _client) = host.connection(3);
        let tenant = host.tlv("tenant");
        for option in [abi::PKTMETA_RX_FIELD, abi::PKTMETA_RX_SYN_FIELD] {
            assert_eq!(get(&server, option + tenant), Ok(3u32.to_le_bytes().into()));
            assert_eq!(get(&server, option + host.tlv("trace")), Err(ENOENT));
            assert_eq!(get(&server, option + 63), Err(ENOENT), "not registered");
            assert_eq!(get(&server, option), Err(ENOPROTOOPT), "no type");
        }
        let short = get_at(&server, abi::SOL_PKTMETA, abi::PKTMETA_RX_FIELD + tenant, 3);
        assert_eq!(short, Err(EMSGSIZE));
        let udp = host.lab.udp_server(IpVersion::V4);
        assert_eq!(get(&udp, abi::PKTMETA_RX_FIELD + tenant), Err(EPROTOTYPE));
    });
}

#[test]
fn selected_fields_come_in_one_answer_and_say_what_is_absent() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let listener = host.lab.listen(IpVersion::V4);
        assert_eq!(get(&listener, abi::PKTMETA_FIELDS), Err(ENODATA));
        let types = ["trace", "tenant", "rx_queue"].map(|name| host.tlv(name) as u8);
        set(&listener, abi::PKTMETA_FIELDS, &types).unwrap();
        assert_eq!(get(&listener, abi::PKTMETA_FIELDS), Ok(types.into()));
        let (server, _client) = host.accept(&listener, 5);
        for option in [abi::PKTMETA_RX_FIELDS, abi::PKTMETA_RX_SYN_FIELDS] {
            let answer = get_at(&server, abi::SOL_PKTMETA, option, 4096).unwrap();
            let values: Vec<_> = answer.chunks(abi::VALUE_SIZE).collect();
            assert_eq!(values.len(), 3);
            assert_eq!(values[0][..4], [types[0], ENOENT as u8, 0, 0]);
            assert!(values[0][abi::VALUE_AT..].iter().all(|&byte| byte == 0));
            assert_eq!(values[1][..4], [types[1], 0, 4, 0]);
            assert_eq!(values[1][abi::VALUE_AT..][..8], [5, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(values[2][..4], [types[2], 0, 2, 0]);
        }
        let short = get_at(
            &server,
            abi::SOL_PKTMETA,
            abi::PKTMETA_RX_FIELDS,
            3 * 72 - 1,
        );
        assert_eq!(short, Err(EMSGSIZE));
        let most = [types[1]; abi::SELECTION_MAX];
        set(&server, abi::PKTMETA_FIELDS, &most).unwrap();
        let answer = get_at(&server, abi::SOL_PKTMETA, abi::PKTMETA_RX_FIELDS, 4096);
        assert_eq!(answer.unwrap().len(), abi::SELECTION_MAX * abi::VALUE_SIZE);
        for wrong in [&[0][..], &[64], &[1; abi::SELECTION_MAX + 1]] {
            assert_eq!(set(&server, abi::PKTMETA_FIELDS, wrong), Err(EINVAL));
        }
        set(&server, abi::PKTMETA_FIELDS, &[]).unwrap();
        let none = get_at(&server, abi::SOL_PKTMETA, abi::PKTMETA_RX_FIELDS, 4096);
        assert_eq!(none, Err(ENODATA));
    });
}

#[test]
fn fields_end_with_enodata_when_every_number_is_taken_too() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let socket = lab.udp_server(IpVersion::V4);
        let registry = HostRegistry::new(sandbox.bpffs());
        let there = registry.read().unwrap().fields().len();
        let field = |at| format!("[[field]]\nname = \"more{at}\"\ntype = \"flag\"\n");
        let more: String = (there..63).map(field).collect();
        let more = Schema::parse("more.toml", &format!("owner = \"more\"\n{more}")).unwrap();
        registry.register(&[more]).unwrap();
        let mut types = Vec::new();
        let mut next = 1;
        let end = loop {
            match get(&socket, abi::PKTMETA_FIELD_INFO + next) {
                Ok(field) => types.push(i32::from(field[56])),
                Err(error) => break error,
            }
            next = types.last().unwrap() + 1;
        };
        assert_eq!((types, end), ((1..64).collect(), ENODATA));
        let behind = get(&socket, abi::PKTMETA_FIELD_INFO + 65);
        assert_eq!(behind, Err(ENOPROTOOPT));
    });
}

#[test]
fn a_field_that_was_removed_is_not_read_and_not_sent() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let registry = HostRegistry::new(sandbox.bpffs());
        let text =
            "owner = \"late\"\n[[field]]\nname = \"late\"\ntype = \"u8\"\nwriters = [\"app\"]\n";
        let schema = Schema::parse("late.toml", text).unwrap();
        registry.register(&[schema]).unwrap();
        let late = i32::from(registry.read().unwrap().by_name("late").unwrap().tlv.get());
        let socket = host.lab.udp_server(IpVersion::V4);
        set(&socket, abi::PKTMETA_TX_FIELD + late, &[5]).unwrap();
        let record = get(&socket, abi::PKTMETA_TX).unwrap();
        registry
            .remove(&Removal::Fields(vec!["late".into()]))
            .unwrap();
        assert_eq!(get(&socket, abi::PKTMETA_TX_FIELD + late), Err(ENOENT));
        assert_eq!(set(&socket, abi::PKTMETA_TX_FIELD + late, &[6]), Err(EPERM));
        assert_eq!(set(&socket, abi::PKTMETA_TX, &record), Err(EPERM));
        set(&socket, abi::PKTMETA_FIELDS, &[late as u8]).unwrap();
        assert_ne!(
            get(&socket, abi::PKTMETA_FIELD_INFO + late).map(|field| field[56]),
            Ok(late as u8)
        );
    });
}

#[test]
fn the_datapath_says_what_it_is_and_when_its_fields_change() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let socket = host.lab.udp_server(IpVersion::V4);
        let info = pktmeta::info(&socket).unwrap();
        let features = abi::FEATURE_RX_TCP | abi::FEATURE_RX_UDP | abi::FEATURE_HISTORY;
        assert_eq!(info.features, features | abi::FEATURE_TX);
        let cgroup = std::fs::metadata(sandbox.cgroup()).unwrap();
        assert_eq!(info.cgroup, std::os::unix::fs::MetadataExt::ino(&cgroup));
        assert_eq!(info.schema, host.registry.hash());
        let more = "owner = \"more\"\n[[field]]\nname = \"zone\"\ntype = \"u8\"\n";
        let more = Schema::parse("more.toml", more).unwrap();
        HostRegistry::new(sandbox.bpffs())
            .register(&[more])
            .unwrap();
        let after = pktmeta::info(&socket).unwrap();
        assert_ne!(after.schema, info.schema);
        assert_eq!(after.instance, info.instance);
    });
}

#[test]
fn the_record_of_a_byte_is_that_of_its_segment() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = host.lab.listen(version);
            assert_eq!(get(&listener, abi::PKTMETA_RX_HISTORY), Ok(vec![0; 4]));
            set(&listener, abi::PKTMETA_RX_HISTORY, &1i32.to_ne_bytes()).unwrap();
            assert_eq!(
                get(&listener, abi::PKTMETA_RX_HISTORY),
                Ok(vec![1, 0, 0, 0])
            );
            let (mut server, mut client) = host.accept(&listener, 2);
            let number = |record: &[u8]| {
                let record = Record::parse(record).unwrap();
                host.registry.get(&record, builtin::PACKET_NUMBER).unwrap()
            };
            let mut numbers = Vec::new();
            // One byte has been exchanged by `accept`.
            for at in 1..=40 {
                client.write_all(b"!").unwrap();
                server.read_exact(&mut [0]).unwrap();
                let record = get_at(&server, abi::SOL_PKTMETA_BYTE, at, 256).unwrap();
                let latest = server.packet_meta().unwrap();
                assert_eq!(latest.get(builtin::PACKET_NUMBER), Some(number(&record)));
                assert_eq!(latest.get(TENANT), Some(2));
                numbers.push(number(&record));
            }
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
            for at in 41 - 32..=40 {
                let record = get_at(&server, abi::SOL_PKTMETA_BYTE, at, 256).unwrap();
                assert_eq!(number(&record), numbers[at as usize - 1], "byte {at}");
            }
            assert_eq!(get_at(&server, abi::SOL_PKTMETA_BYTE, 8, 256), Err(ESTALE));
            assert_eq!(get_at(&server, abi::SOL_PKTMETA_BYTE, 41, 256), Err(EAGAIN));
            set(&server, abi::PKTMETA_FIELDS, &[host.tlv("tenant") as u8]).unwrap();
            let fields = get_at(&server, abi::SOL_PKTMETA_BYTE_FIELDS, 40, 256).unwrap();
            assert_eq!(fields[abi::VALUE_AT..][..4], 2u32.to_le_bytes());
            set(&server, abi::PKTMETA_RX_HISTORY, &0i32.to_ne_bytes()).unwrap();
            assert_eq!(get_at(&server, abi::SOL_PKTMETA_BYTE, 40, 256), Err(ESTALE));
        }
        let (plain, _client) = host.connection(1);
        assert_eq!(get_at(&plain, abi::SOL_PKTMETA_BYTE, 0, 256), Err(ESTALE));
        let wrong = 2i32.to_ne_bytes();
        assert_eq!(set(&plain, abi::PKTMETA_RX_HISTORY, &wrong), Err(EINVAL));
        assert_eq!(set(&plain, abi::PKTMETA_RX_HISTORY, &[1]), Err(EINVAL));
        let udp = host.lab.udp_server(IpVersion::V4);
        let on = 1i32.to_ne_bytes();
        assert_eq!(set(&udp, abi::PKTMETA_RX_HISTORY, &on), Err(EPROTOTYPE));
        assert_eq!(get_at(&udp, abi::SOL_PKTMETA_BYTE, 0, 256), Err(EPROTOTYPE));
    });
}

#[test]
fn what_a_socket_sends_is_set_read_changed_and_cleared() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let [trace, class, urgent, note] =
            ["trace", "class", "urgent", "note"].map(|name| abi::PKTMETA_TX_FIELD + host.tlv(name));
        let delete = abi::PKTMETA_TX_DELETE - abi::PKTMETA_TX_FIELD;
        for socket in host.sockets() {
            assert_eq!(get(&socket, abi::PKTMETA_TX), Err(ENODATA));
            assert_eq!(get(&socket, trace), Err(ENODATA));
            set(&socket, trace, &7u64.to_le_bytes()).unwrap();
            set(&socket, class, &[9]).unwrap();
            set(&socket, note, b"hello").unwrap();
            set(&socket, urgent, &[]).unwrap();
            set(&socket, trace, &8u64.to_le_bytes()).unwrap();
            assert_eq!(get(&socket, trace), Ok(8u64.to_le_bytes().into()));
            assert_eq!(get(&socket, class), Ok(vec![9]));
            assert_eq!(get(&socket, note), Ok(b"hello".into()));
            assert_eq!(get(&socket, urgent), Ok(vec![1]), "a flag that is set");
            let record = get(&socket, abi::PKTMETA_TX).unwrap();
            let record = Record::parse(&record).unwrap();
            assert_eq!(host.registry.values(&record).count(), 4);
            set(&socket, note, b"").unwrap();
            assert_eq!(get(&socket, note), Ok(vec![1]), "an empty value");
            set(&socket, class + delete, &[]).unwrap();
            assert_eq!(get(&socket, class), Err(ENOENT));
            assert_eq!(set(&socket, class + delete, &[]), Err(ENOENT));
            set(&socket, abi::PKTMETA_TX, record.as_bytes()).unwrap();
            assert_eq!(get(&socket, abi::PKTMETA_TX).unwrap(), record.as_bytes());
            set(&socket, abi::PKTMETA_TX, Record::new().as_bytes()).unwrap();
            assert_eq!(get(&socket, abi::PKTMETA_TX), Err(ENODATA));
            set(&socket, class, &[9]).unwrap();
            set(&socket, abi::PKTMETA_TX, &[]).unwrap();
            assert_eq!(get(&socket, class), Err(ENODATA));
        }
    });
}

#[test]
fn what_may_not_be_sent_is_refused_and_changes_nothing() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let socket = host.lab.udp_server(IpVersion::V4);
        let field = |name| abi::PKTMETA_TX_FIELD + host.tlv(name);
        set(&socket, field("class"), &[9]).unwrap();
        let before = get(&socket, abi::PKTMETA_TX).unwrap();
        for (name, value, error) in [
            ("rule", &[0; 4][..], EPERM),
            ("tenant", &[0; 4], EPERM),
            ("trace", &[0; 4], EINVAL),
            ("trace", &[0; 9], EINVAL),
            ("urgent", &[0], EINVAL),
            ("note", &[0; 61], EINVAL),
        ] {
            assert_eq!(set(&socket, field(name), value), Err(error), "{name}");
        }
        assert_eq!(set(&socket, abi::PKTMETA_TX_FIELD + 63, &[0]), Err(EPERM));
        let mut mixed = Record::new();
        mixed.set(host.tag("class"), &[1]).unwrap();
        mixed.set(host.tag("rule"), &[0; 4]).unwrap();
        assert_eq!(set(&socket, abi::PKTMETA_TX, mixed.as_bytes()), Err(EPERM));
        let good = [b'P', b'M', 0x10, 7, host.tlv("class") as u8, 1, 1];
        for wrong in [
            &b"PM"[..],
            &[b'P', b'M', 0x20, 4],
            &[b'P', b'M', 0x90, 7, host.tlv("class") as u8, 1, 1],
            &[b'P', 16, 0x10, 7, host.tlv("class") as u8, 1, 1],
            &[b'P', b'M', 0x10, 3],
            &[b'P', b'M', 0x10, 7],
            &[b'P', b'M', 0x10, 6, host.tlv("class") as u8, 9],
            &[b'P', b'M', 0x10, 7, host.tlv("class") as u8 | 0x40, 1, 1],
            &[&[b'P', b'M', 0x10, 217, 0][..], &[211], &[0; 211]].concat(),
        ] {
            assert_eq!(
                set(&socket, abi::PKTMETA_TX, wrong),
                Err(EINVAL),
                "{wrong:?}"
            );
        }
        assert_eq!(get(&socket, abi::PKTMETA_TX).unwrap(), before);
        set(&socket, abi::PKTMETA_TX, &good).unwrap();

        // 216 bytes hold three of these and the class, not four.
        for _ in 0..2 {
            set(&socket, field("key"), &[5; 64]).unwrap();
            set(&socket, field("note"), &[6; 60]).unwrap();
        }
        let mut full = Record::parse(&get(&socket, abi::PKTMETA_TX).unwrap()).unwrap();
        assert_eq!(full.as_bytes().len(), 4 + 3 + 66 + 62);
        assert_eq!(full.get(host.tag("key")), Some(&[5; 64][..]));
        full.delete(host.tag("class"));
        set(&socket, abi::PKTMETA_TX, full.as_bytes()).unwrap();
        set(&socket, field("class"), &[1]).unwrap();
        let closed = get(&socket, abi::PKTMETA_TX).unwrap();
        assert_eq!(closed.len(), 4 + 3 + 66 + 62, "gaps are closed");
    });
}

#[test]
fn what_a_ticket_remembers_ends_with_no_bytes_or_a_record_without_fields() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let ticket = abi::TX_TICKET as i32;
        for none in [&[][..], Record::new().as_bytes()] {
            // Nothing is kept for what was never set.
            set_at(&udp, abi::SOL_PKTMETA_DGRAM, ticket, none).unwrap();
            set(&udp, abi::PKTMETA_TX, none).unwrap();
        }
        assert_eq!(
            Storage::open(sandbox).count().get("pktmeta_tx_tickets"),
            None
        );
    });
}

#[test]
fn tickets_of_what_is_sent_are_told_from_other_marks() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let mut record = Record::new();
        record.set(host.tag("class"), &[1]).unwrap();
        let set_ticket =
            |ticket: u32, value: &[u8]| set_at(&udp, abi::SOL_PKTMETA_DGRAM, ticket as i32, value);
        set_ticket(abi::TX_TICKET | 5, record.as_bytes()).unwrap();
        set_ticket(abi::TX_TICKET | 5, &[]).unwrap();
        for none in [
            0,
            1,
            5,
            abi::TX_TICKET - 1,
            abi::TX_TICKET + 0x0100_0000,
            u32::MAX,
        ] {
            assert_eq!(
                set_ticket(none, record.as_bytes()),
                Err(EINVAL),
                "{none:#x}"
            );
        }
        assert_eq!(set_ticket(abi::TX_TICKET, b"PM"), Err(EINVAL));
        record.set(host.tag("rule"), &[0; 4]).unwrap();
        assert_eq!(set_ticket(abi::TX_TICKET, record.as_bytes()), Err(EPERM));
        let (tcp, _client) = host.connection(1);
        let ticket = abi::TX_TICKET as i32;
        let refused = set_at(&tcp, abi::SOL_PKTMETA_DGRAM, ticket, &[]);
        assert_eq!(refused, Err(EPROTOTYPE));
    });
}

#[test]
fn only_the_users_who_may_can_send_records() {
    in_sandbox(|sandbox| {
        for (senders, error) in [
            (Senders::Users(vec![]), Some(EPERM)),
            (Senders::Users(vec![1, 2, 3]), Some(EPERM)),
            (Senders::Users(vec![1, 0]), None),
        ] {
            let host = Host::up_for(sandbox, senders);
            let socket = host.lab.udp_server(IpVersion::V4);
            let class = abi::PKTMETA_TX_FIELD + host.tlv("class");
            assert_eq!(set(&socket, class, &[1]).err(), error);
            let info = pktmeta::info(&socket).unwrap();
            assert_eq!(info.features & abi::FEATURE_TX != 0, error.is_none());
            // Reading is for everybody.
            set(&socket, abi::PKTMETA_TICKETS, &1i32.to_ne_bytes()).unwrap();
            down(sandbox);
        }
    });
}

#[test]
fn it_is_the_effective_user_who_may_send_records() {
    in_sandbox(|sandbox| {
        let host = Host::up_for(sandbox, Senders::Users(vec![1]));
        let socket = host.lab.udp_server(IpVersion::V4);
        let class = abi::PKTMETA_TX_FIELD + host.tlv("class");
        for (real, effective, error) in [(1, 2, Some(EPERM)), (2, 1, None)] {
            in_child(|| {
                // SAFETY: this process has no other thread.
                assert_eq!(unsafe { libc::setresuid(real, effective, 0) }, 0);
                assert_eq!(set(&socket, class, &[1]).err(), error);
                let info = pktmeta::info(&socket).unwrap();
                assert_eq!(info.features & abi::FEATURE_TX != 0, error.is_none());
            });
        }
    });
}

#[test]
fn what_a_listener_sends_its_connections_begin_with_and_change_for_themselves() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let listener = host.lab.listen(IpVersion::V6);
        let class = abi::PKTMETA_TX_FIELD + host.tlv("class");
        set(&listener, class, &[4]).unwrap();
        let (first, _one) = host.accept(&listener, 1);
        let (second, _two) = host.accept(&listener, 2);
        assert_eq!(get(&first, class), Ok(vec![4]));
        set(&first, class, &[5]).unwrap();
        set(&listener, class, &[6]).unwrap();
        assert_eq!(get(&first, class), Ok(vec![5]));
        assert_eq!(get(&second, class), Ok(vec![4]));
        let (third, _three) = host.accept(&listener, 3);
        assert_eq!(get(&third, class), Ok(vec![6]));
    });
}

#[test]
fn options_that_are_none_are_the_kernels_to_refuse() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        for socket in host.sockets() {
            for option in [
                0,
                10,
                0x141,
                0x1ff,
                0x200,
                0x240,
                0x600,
                -1,
                i32::MAX,
                i32::MIN,
            ] {
                assert_eq!(get(&socket, option), Err(ENOPROTOOPT), "{option}");
                assert_eq!(set(&socket, option, &[0; 4]), Err(ENOPROTOOPT), "{option}");
            }
            for option in [
                abi::PKTMETA_INFO,
                abi::PKTMETA_RX,
                abi::PKTMETA_RX_FIELD + 1,
            ] {
                assert_eq!(set(&socket, option, &[0; 4]), Err(ENOPROTOOPT), "{option}");
            }
            let level = abi::SOL_PKTMETA_DGRAM_DISPLACED + 1;
            assert!(get_at(&socket, level, 1, 64).is_err());
        }
    });
}

/// A lab with fields that applications may write.
pub(crate) struct Host {
    pub(crate) lab: Lab,
    pub(crate) registry: Registry,
}

impl Host {
    pub(crate) fn up(sandbox: &Sandbox) -> Self {
        Self::up_for(sandbox, Senders::All)
    }

    pub(crate) fn up_for(sandbox: &Sandbox, send: Senders) -> Self {
        let lab = Lab::up_for(sandbox, send);
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        Self { lab, registry }
    }

    fn field(&self, name: &str) -> &FieldInfo {
        self.registry.by_name(name).unwrap()
    }

    pub(crate) fn tlv(&self, name: &str) -> i32 {
        self.field(name).tlv.get().into()
    }

    pub(crate) fn tag(&self, name: &str) -> pktmeta_core::Tag {
        self.field(name).tag()
    }

    pub(crate) fn connection(&self, tenant: u32) -> (TcpStream, TcpStream) {
        self.accept(&self.lab.listen(IpVersion::V4), tenant)
    }

    /// Both ends of a connection, the server's first, over which a byte was sent.
    fn accept(&self, listener: &TcpListener, tenant: u32) -> (TcpStream, TcpStream) {
        let mut client = self.lab.connect(listener.local_addr().unwrap(), tenant);
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
        (server, client)
    }

    /// One socket of each kind.
    fn sockets(&self) -> Vec<std::os::fd::OwnedFd> {
        let udp: UdpSocket = self.lab.udp_server(IpVersion::V6);
        vec![udp.into(), self.connection(1).0.into()]
    }
}

pub(crate) fn get(socket: &impl AsFd, option: i32) -> Result<Vec<u8>, i32> {
    get_at(socket, abi::SOL_PKTMETA, option, 256)
}

/// An answer, into so much room; or its error number.
pub(crate) fn get_at(
    socket: &impl AsFd,
    level: i32,
    option: i32,
    room: usize,
) -> Result<Vec<u8>, i32> {
    let mut buffer = vec![0xee; room];
    let mut length = room as libc::socklen_t;
    // SAFETY: the kernel writes at most length bytes to the buffer, which has them.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &mut length,
        )
    };
    buffer.truncate(length as usize);
    outcome(result).map(|()| buffer)
}

pub(crate) fn set(socket: &impl AsFd, option: i32, value: &[u8]) -> Result<(), i32> {
    set_at(socket, abi::SOL_PKTMETA, option, value)
}

pub(crate) fn set_at(socket: &impl AsFd, level: i32, option: i32, value: &[u8]) -> Result<(), i32> {
    // SAFETY: the kernel reads as many bytes as value has.
    outcome(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    })
}

fn outcome(result: i32) -> Result<(), i32> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap()),
    }
}
