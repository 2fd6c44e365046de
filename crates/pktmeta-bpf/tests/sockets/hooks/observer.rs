//! The programs that count what they read.

use crate::bpf;
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{HostRegistry, Object, ObjectOptions};
use pktmeta_core::{Record, Registry, seal::Secret};
use pktmeta_testkit::{
    link::{IpVersion, Link},
    netns::Netns,
    sandbox::Sandbox,
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::LazyLock,
};

/// Where a program stands: `enum hook` of seen.h, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    TcIngress,
    TcEgress,
    CgroupIngress,
    CgroupEgress,
    SocketFilter,
    LwtIn,
    LwtOut,
    LwtXmit,
    SkSkbParser,
    SkSkbVerdict,
    SkReuseport,
    Netfilter,
    NetfilterForward,
    Sockops,
    FlowDissector,
    Egress,
}

impl Hook {
    fn program(self) -> &'static str {
        match self {
            Self::TcIngress => "at_tc_ingress",
            Self::TcEgress => "at_tc_egress",
            Self::CgroupIngress => "at_cgroup_ingress",
            Self::CgroupEgress => "at_cgroup_egress",
            Self::SocketFilter => "at_socket_filter",
            Self::LwtIn => "at_lwt_in",
            Self::LwtOut => "at_lwt_out",
            Self::LwtXmit => "at_lwt_xmit",
            Self::SkSkbParser => "at_sk_skb_parser",
            Self::SkSkbVerdict => "at_sk_skb_verdict",
            Self::SkReuseport => "at_sk_reuseport",
            Self::Netfilter => "at_netfilter",
            Self::NetfilterForward => "at_netfilter_forward",
            Self::Sockops => "at_sockops",
            Self::FlowDissector => "at_flow_dissector",
            Self::Egress => "at_egress",
        }
    }
}

/// `struct sight` of seen.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Tenant whose packet it is; 0: nobody's.
    pub(crate) owner: u32,
    /// What `pktmeta_get()` returned, and the value.
    pub(crate) err: i32,
    pub(crate) value: u32,
    pub(crate) has_record: u32,
}

/// All of them, loaded.
pub(crate) struct Observer {
    objects: [Object; 3],
}

impl Observer {
    /// Those of the host's registry; or of one that has other secret.
    pub(crate) fn new(sandbox: &Sandbox, secret: Option<Secret>) -> Self {
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        let registry = match secret {
            Some(secret) => registry.with_secret(secret),
            None => registry,
        };
        Self::of(sandbox, &registry)
    }

    /// Those of a registry.
    pub(crate) fn of(sandbox: &Sandbox, registry: &Registry) -> Self {
        static ELFS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| compile(&[]));
        Self::load(sandbox, registry, &ELFS)
    }

    /// Those of the host's registry, as they read on a kernel without `rtnl_link_stats64`.
    pub(crate) fn without_words(sandbox: &Sandbox) -> Self {
        static ELFS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| compile(&["-DPKTMETA_NO_WORDS"]));
        let registry = HostRegistry::new(sandbox.bpffs()).read().unwrap();
        Self::load(sandbox, &registry, &ELFS)
    }

    fn load(sandbox: &Sandbox, registry: &Registry, elfs: &[Vec<u8>; 3]) -> Self {
        let maps = sandbox.bpffs().join("pktmeta/maps");
        let options = ObjectOptions {
            registry: Some(registry),
            pins: ["pktmeta_tx", "pktmeta_tx_tickets"]
                .map(|map| (map, maps.join(map)))
                .into(),
            ..Default::default()
        };
        let load = |elf: &Vec<u8>| Object::load("observer", elf, &options);
        Self {
            objects: elfs.each_ref().map(|elf| load(elf).unwrap()),
        }
    }

    fn object(&self, hook: Hook) -> &Object {
        match hook {
            Hook::FlowDissector => &self.objects[1],
            Hook::Egress => &self.objects[2],
            _ => &self.objects[0],
        }
    }

    pub(crate) fn program(&self, hook: Hook) -> BorrowedFd<'_> {
        self.object(hook).program(hook.program()).unwrap()
    }

    /// At TC of an interface, while the result lives.
    pub(crate) fn on_interface(&self, hook: Hook, link: &Link) -> OwnedFd {
        let kind = match hook {
            Hook::TcEgress | Hook::Egress => libbpf_sys::BPF_TCX_EGRESS,
            _ => libbpf_sys::BPF_TCX_INGRESS,
        };
        let attach = || self.link(hook, link.ifindex() as i32, kind, None);
        link.netns().run(attach)
    }

    /// For the sockets of the sandbox.
    pub(crate) fn on_cgroup(&self, hook: Hook, sandbox: &Sandbox) -> OwnedFd {
        let cgroup = File::open(sandbox.cgroup()).unwrap();
        let kind = match hook {
            Hook::CgroupEgress => libbpf_sys::BPF_CGROUP_INET_EGRESS,
            Hook::Sockops => libbpf_sys::BPF_CGROUP_SOCK_OPS,
            _ => libbpf_sys::BPF_CGROUP_INET_INGRESS,
        };
        self.link(hook, cgroup.as_raw_fd(), kind, None)
    }

    /// At a hook of netfilter.
    pub(crate) fn on_netfilter(
        &self,
        hook: Hook,
        netns: &Netns,
        version: IpVersion,
        number: i32,
    ) -> OwnedFd {
        netns.run(|| {
            let mut options = libbpf_sys::bpf_link_create_opts {
                sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
                ..Default::default()
            };
            let place = libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_5 {
                pf: match version {
                    IpVersion::V4 => libc::NFPROTO_IPV4 as u32,
                    IpVersion::V6 => libc::NFPROTO_IPV6 as u32,
                },
                hooknum: number as u32,
                ..Default::default()
            };
            options.__bindgen_anon_1.netfilter = place;
            self.link(hook, 0, libbpf_sys::BPF_NETFILTER, Some(&options))
        })
    }

    /// For a network namespace.
    pub(crate) fn on_netns(&self, hook: Hook, netns: &Netns) -> OwnedFd {
        let attach = || {
            let own = File::open("/proc/thread-self/ns/net").unwrap();
            self.link(hook, own.as_raw_fd(), libbpf_sys::BPF_FLOW_DISSECTOR, None)
        };
        netns.run(attach)
    }

    /// For the sockets that share this one's port.
    pub(crate) fn on_reuseport_group(&self, hook: Hook, socket: &impl AsFd) {
        self.set(hook, socket, libc::SO_ATTACH_REUSEPORT_EBPF);
    }

    /// For what a socket receives.
    pub(crate) fn on_socket(&self, hook: Hook, socket: &impl AsFd) {
        self.set(hook, socket, libc::SO_ATTACH_BPF);
    }

    /// For what streams receive that are put into the result, as what number it likes.
    pub(crate) fn on_sockmap(&self) -> OwnedFd {
        // SAFETY: the name is a C string; no options are passed.
        let map = unsafe {
            let (kind, name) = (libbpf_sys::BPF_MAP_TYPE_SOCKMAP, c"streams");
            libbpf_sys::bpf_map_create(kind, name.as_ptr(), 4, 4, 64, ptr::null())
        };
        assert!(map >= 0, "{}", io::Error::from_raw_os_error(-map));
        for (hook, kind) in [
            (Hook::SkSkbParser, libbpf_sys::BPF_SK_SKB_STREAM_PARSER),
            (Hook::SkSkbVerdict, libbpf_sys::BPF_SK_SKB_STREAM_VERDICT),
        ] {
            let program = self.program(hook).as_raw_fd();
            // SAFETY: it takes numbers alone.
            let result = unsafe { libbpf_sys::bpf_prog_attach(program, map, kind, 0) };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor for us.
        unsafe { OwnedFd::from_raw_fd(map) }
    }

    /// Pins a program for others to attach.
    pub(crate) fn pin(&self, hook: Hook, sandbox: &Sandbox) -> String {
        let path = sandbox.bpffs().join(hook.program());
        let path = path.to_str().unwrap().to_owned();
        let name = CString::new(path.clone()).unwrap();
        let program = self.program(hook).as_raw_fd();
        // SAFETY: the path is a C string that outlives the call.
        let result = unsafe { libbpf_sys::bpf_obj_pin(program, name.as_ptr()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        path
    }

    fn set(&self, hook: Hook, socket: &impl AsFd, option: i32) {
        let program = self.program(hook).as_raw_fd();
        crate::lab::set_option(socket, libc::SOL_SOCKET, option, program);
    }

    fn link(
        &self,
        hook: Hook,
        target: i32,
        kind: libbpf_sys::bpf_attach_type,
        options: Option<&libbpf_sys::bpf_link_create_opts>,
    ) -> OwnedFd {
        let program = self.program(hook).as_raw_fd();
        let options = options.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the options, if there are any, outlive the call.
        let link = unsafe { libbpf_sys::bpf_link_create(program, target, kind, options) };
        assert!(
            link >= 0,
            "{hook:?}: {}",
            io::Error::from_raw_os_error(-link)
        );
        // SAFETY: the kernel just made this descriptor for us.
        unsafe { OwnedFd::from_raw_fd(link) }
    }

    /// How many packets left since the last call, by what was said of them.
    pub(crate) fn take_said(&self) -> BTreeMap<i64, u64> {
        let map = self.object(Hook::Egress).map("said").unwrap();
        let keys: Vec<_> = map.keys().collect();
        let said = keys.iter().map(|key| {
            let packets = map.lookup(key, MapFlags::ANY).unwrap().unwrap();
            map.delete(key).unwrap();
            let key = i64::from_ne_bytes(key[..].try_into().unwrap());
            (key, u64::from_ne_bytes(packets.try_into().unwrap()))
        });
        said.collect()
    }

    /// The record that the last packet at cgroup_skb/ingress had, as it was copied there.
    pub(crate) fn last_record(&self) -> Option<Record> {
        let map = self.object(Hook::CgroupIngress).map("last").unwrap();
        let copy = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap();
        Record::parse(&copy.unwrap()).ok()
    }

    /// What a hook's program saw since the last call, and how often.
    pub(crate) fn take(&self, hook: Hook) -> Vec<(Sight, u64)> {
        let map = self.object(hook).map("seen").unwrap();
        let keys: Vec<_> = map.keys().collect();
        let seen = keys.iter().filter_map(|key| {
            let numbers: Vec<_> = key
                .chunks_exact(4)
                .map(|four| u32::from_ne_bytes(four.try_into().unwrap()))
                .collect();
            if numbers[0] != hook as u32 {
                return None;
            }
            let packets = map.lookup(key, MapFlags::ANY).unwrap().unwrap();
            map.delete(key).unwrap();
            let sight = Sight {
                owner: numbers[1],
                err: numbers[2] as i32,
                value: numbers[3],
                has_record: numbers[4],
            };
            Some((sight, u64::from_ne_bytes(packets.try_into().unwrap())))
        });
        seen.collect()
    }
}

/// The objects, in the order of [`Observer`].
fn compile(arguments: &[&str]) -> [Vec<u8>; 3] {
    ["received", "dissector", "egress"]
        .map(|name| bpf::compile_with(&format!("hooks/{name}.bpf.c"), arguments))
}

/// Puts a stream into a sockmap.
pub(crate) fn put_into(sockmap: &OwnedFd, number: u32, stream: &impl AsFd) {
    let stream = stream.as_fd().as_raw_fd();
    // SAFETY: key and value have the four bytes of this map's.
    let result = unsafe {
        let (key, value) = ((&raw const number).cast(), (&raw const stream).cast());
        libbpf_sys::bpf_map_update_elem(sockmap.as_raw_fd(), key, value, 0)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
