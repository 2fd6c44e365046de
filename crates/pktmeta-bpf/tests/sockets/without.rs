//! Sockets without a datapath, and with the next one.

use crate::{
    lab::{Lab, app_schema, down, set_option},
    options::{Host, get, get_at, set},
    udp::message::Message,
};
use libc::{ENODATA, ENOENT, ENOPROTOOPT, EOPNOTSUPP};
use pktmeta_bpf::{HostRegistry, Senders};
use pktmeta_core::{abi, schema::Schema};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    io::{Read, Write},
    os::fd::OwnedFd,
};

#[test]
fn without_a_datapath_ipv4_says_not_supported_to_get_and_ipv6_no_such_option() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        down(sandbox);
        for (version, error) in [(IpVersion::V4, EOPNOTSUPP), (IpVersion::V6, ENOPROTOOPT)] {
            let listener = lab.listen(version);
            let client = lab.connect(listener.local_addr().unwrap(), 1);
            let connection = listener.accept().unwrap().0;
            let udp = lab.udp_server(version);
            let sockets: [OwnedFd; 4] = [
                listener.into(),
                client.into(),
                connection.into(),
                udp.into(),
            ];
            for socket in sockets {
                for level in abi::SOL_PKTMETA..=abi::SOL_PKTMETA_DGRAM_DISPLACED {
                    assert_eq!(get_at(&socket, level, 1, 256), Err(error), "{version:?}");
                }
                let tickets = abi::PKTMETA_TICKETS_MARK.to_ne_bytes();
                let set = set(&socket, abi::PKTMETA_TICKETS, &tickets);
                assert_eq!(set, Err(ENOPROTOOPT), "{version:?}");
            }
        }
    });
}

#[test]
fn what_a_socket_was_told_and_what_is_known_of_it_go_with_the_datapath() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let (server, mut client) = host.connection(2);
        let class = host.tlv("class");
        let tell = || {
            set(
                &udp,
                abi::PKTMETA_TICKETS,
                &abi::PKTMETA_TICKETS_MARK.to_ne_bytes(),
            )
            .unwrap();
            set(&server, abi::PKTMETA_RX_HISTORY, &1i32.to_ne_bytes()).unwrap();
            set(&server, abi::PKTMETA_FIELDS, &[class as u8]).unwrap();
            set(&server, abi::PKTMETA_TX_FIELD + class, &[5]).unwrap();
        };
        tell();
        let info = pktmeta::info(&udp).unwrap();
        down(sandbox);
        start_again(&host.lab, sandbox);
        let next = pktmeta::info(&udp).unwrap();
        assert_ne!(next.instance, info.instance);
        assert_eq!(get(&udp, abi::PKTMETA_TICKETS), Ok(vec![0; 4]));
        assert_eq!(get(&server, abi::PKTMETA_RX_HISTORY), Ok(vec![0; 4]));
        assert_eq!(get(&server, abi::PKTMETA_FIELDS), Err(ENODATA));
        assert_eq!(get(&server, abi::PKTMETA_TX), Err(ENODATA));
        for record in [abi::PKTMETA_RX, abi::PKTMETA_RX_SYN] {
            assert_eq!(get(&server, record), Err(ENODATA));
        }
        client.write_all(b"!").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        assert!(get(&server, abi::PKTMETA_RX).is_ok());
        assert_eq!(get(&server, abi::PKTMETA_RX_SYN), Err(ENODATA));
        tell();
    });
}

#[test]
fn a_selected_type_that_no_field_has_is_absent() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let (server, _client) = host.connection(2);
        let tenant = host.tlv("tenant") as u8;
        set(&server, abi::PKTMETA_FIELDS, &[63, tenant]).unwrap();
        assert_eq!(get(&server, abi::PKTMETA_FIELDS), Ok(vec![63, tenant]));
        let answer = get(&server, abi::PKTMETA_RX_FIELDS).unwrap();
        assert_eq!(answer[..8], [63, ENOENT as u8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[abi::VALUE_SIZE..][..3], [tenant, 0, 4]);
    });
}

#[test]
fn a_ticket_in_the_time_of_arrival_needs_its_nanoseconds() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let tickets = abi::PKTMETA_TICKETS_TIMESTAMP.to_ne_bytes();
        set(&udp, abi::PKTMETA_TICKETS, &tickets).unwrap();
        let client = host.lab.udp_client(IpVersion::V4, 3);
        client.send_to(b"!", udp.local_addr().unwrap()).unwrap();
        // The kernel keeps one of the two, the last that was asked for.
        let time = |option, flags| {
            set_option(&udp, libc::SOL_SOCKET, option, 1);
            let message = Message::receive(&udp, 1, flags);
            let time = message.find(libc::SOL_SOCKET, option).unwrap();
            let part = |at: usize| u64::from_ne_bytes(*time[at..].first_chunk().unwrap());
            (part(0), part(8))
        };
        let (seconds, micros) = time(libc::SO_TIMESTAMP, libc::MSG_PEEK);
        let (same_seconds, nanos) = time(libc::SO_TIMESTAMPNS, 0);
        assert_eq!((seconds, micros), (same_seconds, nanos / 1000));
        let ticket = (seconds * 1_000_000_000 + nanos) as u32 as i32;
        assert!(get_at(&udp, abi::SOL_PKTMETA_DGRAM, ticket, 256).is_ok());
    });
}

#[test]
fn the_schema_stays_with_a_registry_that_stays() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let udp = host.lab.udp_server(IpVersion::V4);
        let schema = || pktmeta::info(&udp).unwrap().schema;
        let again = || {
            let before = schema();
            down(sandbox);
            start_again(&host.lab, sandbox);
            schema() == before
        };
        assert!(!again(), "the registry went with its last field");
        let kept = "owner = \"owner\"\n[[field]]\nname = \"kept\"\ntype = \"u8\"\n";
        let kept = Schema::parse("kept.toml", kept).unwrap();
        HostRegistry::new(sandbox.bpffs())
            .register(&[kept])
            .unwrap();
        assert!(again(), "the registry has its owner's field still");
    });
}

/// The datapath that [`Host::up`] starts.
fn start_again(lab: &Lab, sandbox: &Sandbox) {
    lab.start(sandbox, |options| {
        options.schemas.push(app_schema());
        options.send = Senders::All;
    });
}
