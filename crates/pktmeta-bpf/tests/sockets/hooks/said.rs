//! What programs read of what a socket sends, where there is no packet.

use super::observer::put_into;
use crate::{
    bpf,
    lab::{LIMIT, Lab, TRACE, client_address, tcp_socket},
};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta::SendMeta;
use pktmeta_bpf::{HostRegistry, Object, ObjectOptions, Senders};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// The programs of said.bpf.c in the order of their numbers, and where they stand.
const PROGRAMS: [(&str, libbpf_sys::bpf_attach_type); 8] = [
    ("at_connect4", libbpf_sys::BPF_CGROUP_INET4_CONNECT),
    ("at_connect6", libbpf_sys::BPF_CGROUP_INET6_CONNECT),
    ("at_sendmsg4", libbpf_sys::BPF_CGROUP_UDP4_SENDMSG),
    ("at_sendmsg6", libbpf_sys::BPF_CGROUP_UDP6_SENDMSG),
    ("at_sockops", libbpf_sys::BPF_CGROUP_SOCK_OPS),
    ("at_sk_msg", libbpf_sys::BPF_SK_MSG_VERDICT),
    ("at_getsockopt", libbpf_sys::BPF_CGROUP_GETSOCKOPT),
    ("at_setsockopt", libbpf_sys::BPF_CGROUP_SETSOCKOPT),
];

#[test]
fn where_there_is_no_packet_programs_read_what_was_said_of_the_socket() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_for(sandbox, Senders::All);
        let said = Said::attach(sandbox);
        for version in IpVersion::BOTH {
            let listener = lab.listen(version);
            let to = listener.local_addr().unwrap();
            for label in [Some(7), None] {
                let stream = tcp_socket(lab.hosts.client(), client_address(version, 1, 0));
                let datagrams = lab.udp_server(version);
                if let Some(label) = label {
                    let record = TRACE.with(label);
                    stream.as_fd().set_packet_meta(&record).unwrap();
                    datagrams.set_packet_meta(&record).unwrap();
                }
                said.take();
                stream.connect_timeout(&to.into(), LIMIT).unwrap();
                let accepted = listener.accept().unwrap();
                put_into(&said.streams, 0, &stream);
                stream.send(b"hello").unwrap();
                let alive = stream.keepalive().unwrap();
                stream.set_keepalive(!alive).unwrap();
                let client = (lab.hosts.client_ip(version), 9);
                datagrams.send_to(b"hello", client).unwrap();

                let own = match version {
                    IpVersion::V4 => ["at_connect4", "at_sendmsg4"],
                    IpVersion::V6 => ["at_connect6", "at_sendmsg6"],
                };
                let each = ["at_sockops", "at_sk_msg", "at_getsockopt", "at_setsockopt"];
                let value = label.map_or(-i64::from(libc::ENODATA), |label| label as i64);
                let wanted = own
                    .into_iter()
                    .chain(each)
                    .map(|program| (program, vec![value]));
                assert_eq!(said.take(), wanted.collect(), "{version:?} {label:?}");
                drop(accepted);
            }
        }
    });
}

/// The programs, for the sockets of the sandbox, and for streams that are put into a sockmap.
struct Said {
    object: Object,
    streams: OwnedFd,
    _links: Vec<OwnedFd>,
}

impl Said {
    fn attach(sandbox: &Sandbox) -> Self {
        let elf = bpf::compile("hooks/said.bpf.c");
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        let maps = sandbox.bpffs().join("pktmeta/maps");
        let options = ObjectOptions {
            registry: Some(&registry),
            pins: ["pktmeta_tx", "pktmeta_tx_tickets"]
                .map(|map| (map, maps.join(map)))
                .into(),
            ..Default::default()
        };
        let object =
            Object::load("said", &elf, &options).unwrap_or_else(|error| panic!("{error:#}"));
        // SAFETY: the name is a C string; no options are passed.
        let streams = unsafe {
            let (kind, name) = (libbpf_sys::BPF_MAP_TYPE_SOCKMAP, c"streams");
            owned(libbpf_sys::bpf_map_create(
                kind,
                name.as_ptr(),
                4,
                4,
                4,
                ptr::null(),
            ))
        };
        let cgroup = File::open(sandbox.cgroup()).unwrap();
        let mut links = Vec::new();
        for (name, kind) in PROGRAMS {
            let program = object.program(name).unwrap().as_raw_fd();
            if kind == libbpf_sys::BPF_SK_MSG_VERDICT {
                // SAFETY: it takes numbers alone.
                let result =
                    unsafe { libbpf_sys::bpf_prog_attach(program, streams.as_raw_fd(), kind, 0) };
                assert_eq!(result, 0, "{}", io::Error::last_os_error());
                continue;
            }
            // SAFETY: no options are passed.
            links.push(owned(unsafe {
                libbpf_sys::bpf_link_create(program, cgroup.as_raw_fd(), kind, ptr::null())
            }));
        }
        Self {
            object,
            streams,
            _links: links,
        }
    }

    /// What each program read since the last call.
    fn take(&self) -> BTreeMap<&'static str, Vec<i64>> {
        let map = self.object.map("heard").unwrap();
        let keys: Vec<_> = map.keys().collect();
        let mut said = BTreeMap::<_, Vec<_>>::new();
        for key in keys {
            assert!(map.lookup(&key, MapFlags::ANY).unwrap().is_some());
            map.delete(&key).unwrap();
            let (hook, value) = key.split_at(8);
            let hook = u64::from_ne_bytes(hook.try_into().unwrap()) as usize;
            let value = i64::from_ne_bytes(value.try_into().unwrap());
            said.entry(PROGRAMS[hook].0).or_default().push(value);
        }
        said
    }
}

/// libbpf returns a descriptor, or -errno.
fn owned(result: i32) -> OwnedFd {
    assert!(result >= 0, "{}", io::Error::from_raw_os_error(-result));
    // SAFETY: the kernel just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(result) }
}
