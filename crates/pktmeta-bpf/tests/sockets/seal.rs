//! What proves a record stays in front of the packet.

use crate::lab::{LIMIT, Lab, down, get_option};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta::{TcpMeta, UdpMeta};
use pktmeta_bpf::Datapath;
use pktmeta_core::{Record, abi, schema::Schema, seal};
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

#[test]
fn no_byte_of_a_seal_leaves_the_kernel_with_a_record_of_any_length() {
    in_sandbox(|sandbox| {
        let mut rests = BTreeSet::new();
        // Values of 9 bytes and more: each makes the record one byte longer.
        for size in 9..17 {
            let schema = format!(
                "owner = \"last\"\n[[field]]\nname = \"last\"\ntype = \"bytes[{size}]\"\nhot = \
                 true\n"
            );
            let lab = Lab::up_with(sandbox, |options| {
                options
                    .schemas
                    .push(Schema::parse("last.toml", &schema).unwrap());
            });
            let registry = Datapath::new(sandbox.bpffs()).registry().read().unwrap();
            let secret = registry.secret().unwrap();
            let seals = (16..=seal::AREA_MAX).step_by(8);
            let checks: Vec<_> = seals.map(|size| secret.seal(size)).collect();

            let udp = lab.udp_server(IpVersion::V4);
            udp.enable_packet_meta().unwrap();
            udp.set_read_timeout(Some(LIMIT)).unwrap();
            let client = lab.udp_client(IpVersion::V4, 1);
            client.send_to(b"?", udp.local_addr().unwrap()).unwrap();
            let meta = udp.recv_from_meta(&mut [0; 8]).unwrap().meta;
            assert!(!meta.unwrap().is_absent());
            let listener = lab.listen(IpVersion::V4);
            let mut client = lab.connect(listener.local_addr().unwrap(), 1);
            let (stream, _) = listener.accept().unwrap();
            stream.packet_meta().unwrap();
            client.write_all(b"?").unwrap();
            let answers = [abi::PKTMETA_RX, abi::PKTMETA_RX_SYN]
                .map(|name| get_option(&stream, abi::SOL_PKTMETA, name).unwrap());
            rests.insert(Record::parse(&answers[0]).unwrap().as_bytes().len() % 8);

            let mut values: Vec<_> = answers.into();
            for pin in pins(&sandbox.bpffs().join("pktmeta")) {
                values.extend(contents(&pin));
            }
            let marked = values
                .iter()
                .filter(|value| value.windows(2).any(|two| two == b"PM"));
            assert!(marked.count() > 2, "the ring and the sockets have records");
            for value in values {
                let mut windows = value.windows(6);
                let leaked = windows.any(|six| checks.iter().any(|check| check[..6] == *six));
                assert!(!leaked, "{value:x?}");
            }
            down(sandbox);
        }
        assert_eq!(rests.len(), 8, "every length was tried: {rests:?}");
    });
}

/// Everything that is pinned below a directory.
fn pins(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let below = entries.flat_map(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => pins(&entry.path()),
            false => vec![entry.path()],
        }
    });
    below.collect()
}

/// The values of a pinned map; none of what is no map, or has values that belong to sockets.
fn contents(pin: &Path) -> Vec<Vec<u8>> {
    let Ok(map) = MapHandle::from_pinned_path(pin) else {
        return Vec::new();
    };
    let keys = map.keys();
    let per_cpu = |key: &[u8]| map.lookup_percpu(key, MapFlags::ANY).ok()?;
    let values = keys.flat_map(|key| match map.lookup(&key, MapFlags::ANY) {
        Ok(value) => value.into_iter().collect(),
        Err(_) => per_cpu(&key).unwrap_or_default(),
    });
    values.collect()
}
