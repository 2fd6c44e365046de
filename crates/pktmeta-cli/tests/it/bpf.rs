//! Programs of somebody else, of a few raw instructions, and what the kernel says is attached.

use pktmeta_testkit::netns::Netns;
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
};

/// A program that counts its runs and lets every packet pass.
pub(crate) struct Foreign {
    program: OwnedFd,
    runs: OwnedFd,
    attach_type: libbpf_sys::bpf_attach_type,
}

impl Foreign {
    pub(crate) const NAME: &str = "somebody_elses";

    pub(crate) fn xdp() -> Self {
        const XDP_PASS: i32 = 2;
        let kind = libbpf_sys::BPF_PROG_TYPE_XDP;
        Self::load(kind, libbpf_sys::BPF_XDP, &[], XDP_PASS)
    }

    pub(crate) fn tcx() -> Self {
        Self::tcx_with(&[])
    }

    /// Gives every packet a mark.
    pub(crate) fn tcx_that_marks(mark: i32) -> Self {
        const MARK_IN_SK_BUFF: i16 = 8;
        Self::tcx_with(&[mov_imm(2, mark), store_u32(6, 2, MARK_IN_SK_BUFF)])
    }

    pub(crate) fn cgroup_skb() -> Self {
        const PASS: i32 = 1;
        let kind = libbpf_sys::BPF_PROG_TYPE_CGROUP_SKB;
        Self::load(kind, libbpf_sys::BPF_CGROUP_INET_INGRESS, &[], PASS)
    }

    fn tcx_with(body: &[u64]) -> Self {
        const TCX_NEXT: i32 = -1;
        let kind = libbpf_sys::BPF_PROG_TYPE_SCHED_CLS;
        Self::load(kind, libbpf_sys::BPF_TCX_INGRESS, body, TCX_NEXT)
    }

    /// `body` finds the context in r6.
    fn load(
        kind: libbpf_sys::bpf_prog_type,
        attach_type: libbpf_sys::bpf_attach_type,
        body: &[u64],
        verdict: i32,
    ) -> Self {
        let runs = array_map();
        let [address_low, address_high] = map_value(1, runs.as_raw_fd());
        let count = [
            mov(6, 1),
            address_low,
            address_high,
            mov_imm(2, 1),
            atomic_add_u64(1, 2),
        ];
        let program = [&count, body, &[mov_imm(0, verdict), EXIT]].concat();
        let name = CString::new(Self::NAME).unwrap();
        // SAFETY: name, license and instructions outlive the call, which is told their number;
        // `u64` has the layout of `struct bpf_insn` on little-endian machines.
        let program = owned(unsafe {
            libbpf_sys::bpf_prog_load(
                kind,
                name.as_ptr(),
                c"GPL".as_ptr(),
                program.as_ptr().cast(),
                program.len() as _,
                ptr::null_mut(),
            )
        });
        Self {
            program: program.unwrap(),
            runs,
            attach_type,
        }
    }

    /// Attaches it to an interface of a namespace, until the link is dropped.
    pub(crate) fn attach_to_interface(&self, netns: &Netns, ifindex: u32) -> OwnedFd {
        netns.run(|| self.attach(ifindex as i32))
    }

    /// Attaches it to a cgroup, until the link is dropped.
    pub(crate) fn attach_to_cgroup(&self, cgroup: &Path) -> OwnedFd {
        self.attach(File::open(cgroup).unwrap().as_raw_fd())
    }

    fn attach(&self, target: i32) -> OwnedFd {
        let program = self.program.as_raw_fd();
        // SAFETY: no options are passed.
        let link =
            unsafe { libbpf_sys::bpf_link_create(program, target, self.attach_type, ptr::null()) };
        owned(link).unwrap()
    }

    /// How often it ran.
    pub(crate) fn runs(&self) -> u64 {
        let mut runs = [0];
        read_entry(self.runs.as_fd(), &mut runs);
        runs[0]
    }
}

impl AsFd for Foreign {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// A map of one number.
pub(crate) fn array_map() -> OwnedFd {
    // SAFETY: the name is a C string; no options are passed.
    owned(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_ARRAY,
            c"somebody_elses".as_ptr(),
            4,
            8,
            1,
            ptr::null(),
        )
    })
    .unwrap()
}

pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a C string that outlives the call.
    let result = unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    checked(result).unwrap();
}

/// Opens what is pinned.
pub(crate) fn open_pin(path: &Path) -> OwnedFd {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a C string that outlives the call.
    owned(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) }).unwrap()
}

/// Reads entry 0 of a map whose value has `value.len()` numbers, of all CPUs if it has one for
/// each.
pub(crate) fn read_entry(map: BorrowedFd<'_>, value: &mut [u64]) {
    // SAFETY: the key has the 4 bytes of every array map's; the callers' maps have values of the
    // size of `value`.
    let result = unsafe {
        libbpf_sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            (&raw const ZERO).cast(),
            value.as_mut_ptr().cast(),
        )
    };
    checked(result).unwrap();
}

static ZERO: u32 = 0;

/// How many programs are attached where the datapath attaches, each by the name of its place.
pub(crate) fn attached(netns: &Netns, ifindex: u32, cgroup: &Path) -> Vec<(&'static str, u32)> {
    let cgroup = File::open(cgroup).unwrap();
    let cgroup = cgroup.as_raw_fd();
    let interface = ifindex as i32;
    let counts = netns.run(|| {
        [
            ("xdp", u32::from(has_xdp(ifindex))),
            (
                "tcx",
                attached_programs(interface, libbpf_sys::BPF_TCX_INGRESS),
            ),
            (
                "skb",
                attached_programs(cgroup, libbpf_sys::BPF_CGROUP_INET_INGRESS),
            ),
            (
                "sockops",
                attached_programs(cgroup, libbpf_sys::BPF_CGROUP_SOCK_OPS),
            ),
            (
                "getsockopt",
                attached_programs(cgroup, libbpf_sys::BPF_CGROUP_GETSOCKOPT),
            ),
            (
                "setsockopt",
                attached_programs(cgroup, libbpf_sys::BPF_CGROUP_SETSOCKOPT),
            ),
        ]
    });
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// True if an interface of this network namespace has an XDP program.
pub(crate) fn has_xdp(ifindex: u32) -> bool {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    // SAFETY: options is of the size it says and outlives the call.
    checked(unsafe { libbpf_sys::bpf_xdp_query(ifindex as i32, 0, &mut options) }).unwrap();
    options.attach_mode != 0
}

fn attached_programs(target: i32, attach_type: libbpf_sys::bpf_attach_type) -> u32 {
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as _,
        ..Default::default()
    };
    // SAFETY: options is of the size it says and outlives the call; it has room for no program.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(target, attach_type, &mut options) };
    match checked(result) {
        // SAFETY: both names of the union are the same u32.
        Ok(_) => unsafe { options.__bindgen_anon_1.count },
        // Nothing was ever attached to the interface.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => 0,
        Err(error) => panic!("query attach type {attach_type}: {error}"),
    }
}

/// libbpf returns a descriptor or zero, or -errno.
fn checked(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: a call that returns a new descriptor gave it to us alone.
    checked(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

const fn mov(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

const fn mov_imm(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

/// The address of a map's only value.
const fn map_value(to: u8, map: i32) -> [u64; 2] {
    const BPF_PSEUDO_MAP_VALUE: u8 = 2;
    let low = instruction(0x18, to, BPF_PSEUDO_MAP_VALUE, 0, map);
    [low, instruction(0, 0, 0, 0, 0)]
}

const fn atomic_add_u64(base: u8, from: u8) -> u64 {
    instruction(0xdb, base, from, 0, 0)
}

const fn store_u32(base: u8, from: u8, offset: i16) -> u64 {
    instruction(0x63, base, from, offset, 0)
}

/// `struct bpf_insn` on a little-endian machine.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((to | from << 4) as u64) << 8
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}
