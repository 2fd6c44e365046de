//! The program that sees what leaves.

use crate::{bpf, lab::Lab};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{HostRegistry, Object, ObjectOptions};
use pktmeta_testkit::sandbox::Sandbox;
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::LazyLock,
};

/// Where the program stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Interface,
    Cgroup,
}

impl Place {
    pub(crate) const BOTH: [Self; 2] = [Self::Interface, Self::Cgroup];
}

/// It stands there until this is dropped.
pub(crate) struct Observer {
    object: Object,
    _link: OwnedFd,
}

impl Observer {
    /// On the server's interface, or on the cgroup of the sandbox.
    pub(crate) fn attach(lab: &Lab, sandbox: &Sandbox, place: Place) -> Self {
        static ELF: LazyLock<Vec<u8>> = LazyLock::new(|| bpf::compile("send/observe.bpf.c"));
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        let maps = sandbox.bpffs().join("pktmeta/maps");
        let options = ObjectOptions {
            registry: Some(&registry),
            pins: ["pktmeta_tx", "pktmeta_tx_tickets"]
                .map(|map| (map, maps.join(map)))
                .into(),
            ..Default::default()
        };
        let object = Object::load("observe", &ELF, &options).unwrap();
        let cgroup = fs::File::open(sandbox.cgroup()).unwrap();
        let (name, target, kind) = match place {
            Place::Interface => (
                "observe_interface",
                lab.hosts.server_ifindex() as i32,
                libbpf_sys::BPF_TCX_EGRESS,
            ),
            Place::Cgroup => (
                "observe_cgroup",
                cgroup.as_raw_fd(),
                libbpf_sys::BPF_CGROUP_INET_EGRESS,
            ),
        };
        let program = object.program(name).unwrap();
        // SAFETY: no options are passed.
        let attach = || unsafe {
            libbpf_sys::bpf_link_create(program.as_raw_fd(), target, kind, ptr::null())
        };
        let link = lab.hosts.server().run(attach);
        assert!(link >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the kernel just made this descriptor for us.
        let link = unsafe { OwnedFd::from_raw_fd(link) };
        Self {
            object,
            _link: link,
        }
    }

    /// Packets and bytes since the last call, by trace.
    pub(crate) fn take(&self) -> BTreeMap<u64, (u64, u64)> {
        let map = self.object.map("seen").unwrap();
        let keys: Vec<_> = map.keys().collect();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        keys.iter()
            .map(|key| {
                let seen = map.lookup(key, MapFlags::ANY).unwrap().unwrap();
                map.delete(key).unwrap();
                (number(key), (number(&seen[..8]), number(&seen[8..])))
            })
            .collect()
    }

    /// Packets since the last call, by trace.
    pub(crate) fn take_packets(&self) -> Vec<(u64, u64)> {
        let seen = self.take().into_iter();
        seen.map(|(id, (packets, _))| (id, packets)).collect()
    }
}
