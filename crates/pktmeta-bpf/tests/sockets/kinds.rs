//! Sockets of every kind that this kernel has.

use crate::{
    lab::Lab,
    options::{Host, get, get_at, set_at},
    storage::Storage,
};
use libc::{ENOPROTOOPT, EPROTOTYPE};
use pktmeta_core::{FieldInfo, abi};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    fs,
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd},
};

/// How a socket is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    family: i32,
    kind: i32,
    protocol: i32,
    /// Every kernel that pktmeta runs on has it.
    always: bool,
}

const fn kind(family: i32, kind: i32, protocol: i32) -> Kind {
    Kind {
        family,
        kind,
        protocol,
        always: true,
    }
}

const fn rare(family: i32, kind: i32, protocol: i32) -> Kind {
    Kind {
        family,
        kind,
        protocol,
        always: false,
    }
}

use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, IPPROTO_ICMP, IPPROTO_ICMPV6,
    IPPROTO_MPTCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, SOCK_DGRAM, SOCK_RAW,
    SOCK_SEQPACKET, SOCK_STREAM,
};

/// Kinds that our options are for.
pub(crate) const OURS: [Kind; 4] = [
    kind(AF_INET, SOCK_STREAM, IPPROTO_TCP),
    kind(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    kind(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    kind(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
];

/// Kinds that they are not for.
pub(crate) const OTHERS: [Kind; 23] = [
    kind(AF_INET, SOCK_RAW, IPPROTO_TCP),
    kind(AF_INET6, SOCK_RAW, IPPROTO_TCP),
    kind(AF_INET, SOCK_RAW, IPPROTO_UDP),
    kind(AF_INET6, SOCK_RAW, IPPROTO_UDP),
    kind(AF_INET, SOCK_RAW, IPPROTO_ICMP),
    kind(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6),
    kind(AF_INET, SOCK_RAW, 255),
    kind(AF_UNIX, SOCK_STREAM, 0),
    kind(AF_UNIX, SOCK_DGRAM, 0),
    kind(AF_UNIX, SOCK_SEQPACKET, 0),
    kind(AF_NETLINK, SOCK_RAW, 0),
    kind(AF_NETLINK, SOCK_DGRAM, 6), // its own numbers: NETLINK_XFRM
    rare(AF_NETLINK, SOCK_DGRAM, 16),
    rare(AF_PACKET, SOCK_RAW, 6),
    rare(AF_PACKET, SOCK_DGRAM, 0),
    rare(AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
    rare(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
    rare(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE),
    rare(AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE),
    rare(AF_INET, SOCK_STREAM, IPPROTO_MPTCP),
    rare(AF_VSOCK, SOCK_STREAM, 0),
    rare(AF_INET, SOCK_STREAM, IPPROTO_SCTP),
    rare(AF_INET6, SOCK_SEQPACKET, IPPROTO_SCTP),
];

impl Kind {
    /// A socket; `None` if this kernel has no such kind.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let kind = self.kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: it takes numbers.
        let socket = unsafe { libc::socket(self.family, kind, self.protocol) };
        if socket < 0 {
            let error = io::Error::last_os_error();
            assert!(!self.always, "{self:?}: {error}");
            return None;
        }
        // SAFETY: the kernel just made this descriptor for us.
        Some(unsafe { OwnedFd::from_raw_fd(socket) })
    }
}

/// Lets every group open ping sockets in this network namespace.
pub(crate) fn allow_ping() {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
}

#[test]
fn sockets_that_are_not_of_tcp_or_udp_are_told_so_by_every_option() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        allow_ping();
        let mut kinds = 0;
        for kind in OTHERS {
            let Some(socket) = kind.open() else {
                continue;
            };
            kinds += 1;
            let info = get(&socket, abi::PKTMETA_INFO).unwrap();
            assert_eq!(info.len(), abi::Info::SIZE);
            let field = get(&socket, abi::PKTMETA_FIELD_INFO + 1).unwrap();
            assert_eq!(field.len(), FieldInfo::SIZE);
            for option in get_options() {
                let answer = get(&socket, option);
                assert_eq!(answer, Err(EPROTOTYPE), "get {option:#x} of {kind:?}");
            }
            for (option, value) in set_options(&host) {
                let answer = set_at(&socket, abi::SOL_PKTMETA, option, &value);
                assert_eq!(answer, Err(EPROTOTYPE), "set {option:#x} of {kind:?}");
            }
            for level in abi::SOL_PKTMETA_DGRAM..=abi::SOL_PKTMETA_DGRAM_DISPLACED {
                for name in [0, 1, 2, 1 << 20, abi::TX_TICKET as i32, -1] {
                    let answer = get_at(&socket, level, name, 4096);
                    assert_eq!(answer, Err(EPROTOTYPE), "{level:#x} {name:#x} of {kind:?}");
                    let wanted = match level {
                        abi::SOL_PKTMETA_DGRAM => EPROTOTYPE,
                        _ => ENOPROTOOPT,
                    };
                    let answer = set_at(&socket, level, name, &[]);
                    assert_eq!(answer, Err(wanted), "{level:#x} {name:#x} of {kind:?}");
                }
            }
        }
        assert!(kinds > 15, "{kinds}");
    });
}

#[test]
fn options_for_one_kind_are_refused_by_the_other() {
    in_sandbox(|sandbox| {
        let host = Host::up(sandbox);
        let (tcp, _client) = host.connection(1);
        let udp = host.lab.udp_server(IpVersion::V6);
        for option in get_options().filter(|option| is_for_tcp(*option)) {
            assert_eq!(get(&udp, option), Err(EPROTOTYPE), "{option:#x}");
        }
        assert_eq!(get(&tcp, abi::PKTMETA_TICKETS), Err(EPROTOTYPE));
        for level in [
            abi::SOL_PKTMETA_DGRAM,
            abi::SOL_PKTMETA_DGRAM_FIELDS,
            abi::SOL_PKTMETA_DGRAM_DISPLACED,
        ] {
            assert_eq!(get_at(&tcp, level, 1 << 20, 256), Err(EPROTOTYPE));
        }
        for level in [abi::SOL_PKTMETA_BYTE, abi::SOL_PKTMETA_BYTE_FIELDS] {
            assert_eq!(get_at(&udp, level, 0, 256), Err(EPROTOTYPE));
        }
    });
}

#[test]
fn a_raw_socket_that_sees_tcp_segments_is_given_no_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let mut storage = Storage::open(sandbox);
        for version in IpVersion::BOTH {
            let kinds = OTHERS.iter().take(2);
            let open = || kinds.map(|kind| kind.open().unwrap()).collect::<Vec<_>>();
            let raw = lab.hosts.server().run(open);
            let listener = lab.listen(version);
            let mut client = lab.connect(listener.local_addr().unwrap(), 1);
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"?").unwrap();
            server.read_exact(&mut [0]).unwrap();
            // Of the connection that was accepted, and of no raw socket.
            assert_eq!(storage.count().get("connections"), Some(&1));
            drop((raw, server, client));
            storage.wait_until_left([]);
        }
    });
}

/// Every option that can be got, of TCP or UDP sockets.
pub(crate) fn get_options() -> impl Iterator<Item = i32> {
    let with_types = [
        abi::PKTMETA_RX_FIELD,
        abi::PKTMETA_RX_SYN_FIELD,
        abi::PKTMETA_TX_FIELD,
    ];
    let fields = with_types
        .into_iter()
        .flat_map(|first| first + 1..first + 64);
    (abi::PKTMETA_RX..=abi::PKTMETA_RX_SYN_FIELDS).chain(fields)
}

fn is_for_tcp(option: i32) -> bool {
    let of_both = [abi::PKTMETA_TICKETS, abi::PKTMETA_TX, abi::PKTMETA_FIELDS];
    !of_both.contains(&option) && option < abi::PKTMETA_TX_FIELD
}

/// Every option that can be set, with a value that would be right.
fn set_options(host: &Host) -> Vec<(i32, Vec<u8>)> {
    let class = host.tlv("class");
    vec![
        (abi::PKTMETA_TICKETS, vec![1, 0, 0, 0]),
        (abi::PKTMETA_RX_HISTORY, vec![1, 0, 0, 0]),
        (abi::PKTMETA_TX, vec![]),
        (abi::PKTMETA_FIELDS, vec![1]),
        (abi::PKTMETA_TX_FIELD + class, vec![1]),
        (abi::PKTMETA_TX_DELETE + class, vec![]),
    ]
}
