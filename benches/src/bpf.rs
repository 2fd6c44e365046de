//! BPF programs of a few raw instructions, to compare with: what costs nothing, and what people
//! write without pktmeta.

use libbpf_rs::{MapHandle, MapType};
use pktmeta_bpf::hook::Attach;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// What a program is loaded as.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    program_type: libbpf_sys::bpf_prog_type,
    attach_type: libbpf_sys::bpf_attach_type,
    /// What it returns so that packet or call goes on as if it were not there.
    go_on: i32,
}

impl Kind {
    pub(crate) const XDP: Self = Self {
        program_type: libbpf_sys::BPF_PROG_TYPE_XDP,
        attach_type: libbpf_sys::BPF_XDP,
        go_on: XDP_PASS,
    };
    pub(crate) const TC: Self = Self {
        program_type: libbpf_sys::BPF_PROG_TYPE_SCHED_CLS,
        attach_type: libbpf_sys::BPF_TCX_INGRESS,
        go_on: -1,
    };
    pub(crate) const CGROUP_SKB: Self = Self {
        program_type: libbpf_sys::BPF_PROG_TYPE_CGROUP_SKB,
        attach_type: libbpf_sys::BPF_CGROUP_INET_INGRESS,
        go_on: 1,
    };
    pub(crate) const SOCKOPS: Self = Self {
        program_type: libbpf_sys::BPF_PROG_TYPE_SOCK_OPS,
        attach_type: libbpf_sys::BPF_CGROUP_SOCK_OPS,
        go_on: 1,
    };
    pub(crate) const GETSOCKOPT: Self = Self {
        program_type: libbpf_sys::BPF_PROG_TYPE_CGROUP_SOCKOPT,
        attach_type: libbpf_sys::BPF_CGROUP_GETSOCKOPT,
        go_on: 1,
    };

    pub(crate) const SETSOCKOPT: Self = Self {
        attach_type: libbpf_sys::BPF_CGROUP_SETSOCKOPT,
        ..Self::GETSOCKOPT
    };

    /// That of programs which attach there.
    pub(crate) fn of(attach: Attach) -> Option<Self> {
        match attach {
            Attach::Xdp => Some(Self::XDP),
            Attach::TcxIngress => Some(Self::TC),
            Attach::CgroupIngress => Some(Self::CGROUP_SKB),
            Attach::CgroupSockOps => Some(Self::SOCKOPS),
            Attach::CgroupGetsockopt => Some(Self::GETSOCKOPT),
            Attach::CgroupSetsockopt => Some(Self::SETSOCKOPT),
            _ => None,
        }
    }

    /// True if it attaches to an interface, false if to a cgroup.
    pub(crate) fn of_interface(self) -> bool {
        [libbpf_sys::BPF_XDP, libbpf_sys::BPF_TCX_INGRESS].contains(&self.attach_type)
    }
}

/// A program that does nothing.
pub(crate) fn empty(kind: Kind) -> io::Result<OwnedFd> {
    load(kind, &[move_value(0, kind.go_on), EXIT])
}

/// XDP: drops every packet.
pub(crate) fn drop_all() -> io::Result<OwnedFd> {
    load(Kind::XDP, &[move_value(0, XDP_DROP), EXIT])
}

/// An attached program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    program: OwnedFd,
    link: OwnedFd,
}

impl Attached {
    /// Attaches to an interface by its index, in the network namespace of this thread, or to a
    /// cgroup by its descriptor.
    pub(crate) fn new(program: OwnedFd, kind: Kind, target: i32) -> io::Result<Self> {
        // SAFETY: without options the call takes no memory of ours.
        let link = owned(unsafe {
            libbpf_sys::bpf_link_create(program.as_raw_fd(), target, kind.attach_type, ptr::null())
        })?;
        Ok(Self { program, link })
    }
}

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // The kernel may detach a closed link later; whoever attaches next must not meet it.
        // SAFETY: takes no memory of ours.
        unsafe { libbpf_sys::bpf_link_detach(self.link.as_raw_fd()) };
    }
}

/// Bytes that [`raw_struct`] writes: timestamp and number of 8, index and queue of 4.
pub(crate) const RAW_STRUCT_SIZE: usize = 24;

/// XDP: the four values that pktmeta's program writes, as people write them without it: a struct
/// that both sides have agreed on, at its place in front of the packet.
pub(crate) fn raw_struct() -> anyhow::Result<OwnedFd> {
    // The last packet's number.
    let numbers = MapHandle::create(MapType::Array, None::<&str>, 4, 8, 1, &map_options())?;
    let [map_low, map_high] = map_address(2, numbers.as_fd());
    let size = RAW_STRUCT_SIZE as i32;
    let program = [
        move_register(6, 1),
        // packet number
        store_value(10, -4, 0),
        map_low,
        map_high,
        move_register(1, 2),
        move_register(2, 10),
        add_value(2, -4),
        call(libbpf_sys::BPF_FUNC_map_lookup_elem),
        jump_if_equal(0, 0, 21),
        move_value(8, 1),
        fetch_and_add(0, 8),
        add_value(8, 1),
        // room
        move_register(1, 6),
        move_value(2, -size),
        call(libbpf_sys::BPF_FUNC_xdp_adjust_meta),
        jump_if_not_equal(0, 0, 14),
        call(libbpf_sys::BPF_FUNC_ktime_get_ns),
        load_word(2, 6, DATA_META),
        load_word(3, 6, DATA),
        move_register(4, 2),
        add_value(4, size),
        jump_if_greater(4, 3, 8),
        // values
        store_double(2, 0, 0),
        store_double(2, 8, 8),
        load_word(5, 6, INGRESS_IFINDEX),
        store_word(2, 5, 16),
        load_word(5, 6, RX_QUEUE_INDEX),
        store_word(2, 5, 20),
        move_value(0, XDP_PASS),
        EXIT,
        move_value(0, XDP_ABORTED),
        EXIT,
    ];
    Ok(load(Kind::XDP, &program)?)
}

/// XDP: takes the metadata away and goes on with another program. `BPF_PROG_TEST_RUN` gives each
/// repetition the packet as the one before left it, so that without this only the first one would
/// meet a packet without a record.
pub(crate) struct WithoutMetadata {
    pub(crate) program: OwnedFd,
    /// Empties itself once its last descriptor is closed.
    _next: MapHandle,
}

impl WithoutMetadata {
    pub(crate) fn then(next: BorrowedFd<'_>) -> anyhow::Result<Self> {
        use libbpf_rs::{MapCore, MapFlags};
        let programs =
            MapHandle::create(MapType::ProgArray, None::<&str>, 4, 4, 1, &map_options())?;
        let [map_low, map_high] = map_address(2, programs.as_fd());
        let program = [
            move_register(6, 1),
            load_word(2, 6, DATA),
            load_word(3, 6, DATA_META),
            subtract_register(2, 3),
            call(libbpf_sys::BPF_FUNC_xdp_adjust_meta),
            move_register(1, 6),
            map_low,
            map_high,
            move_value(3, 0),
            call(libbpf_sys::BPF_FUNC_tail_call),
            // Only if there is no next program.
            move_value(0, XDP_ABORTED),
            EXIT,
        ];
        let program = load(Kind::XDP, &program)?;
        programs.update(
            &0u32.to_ne_bytes(),
            &next.as_raw_fd().to_ne_bytes(),
            MapFlags::ANY,
        )?;
        Ok(Self {
            program,
            _next: programs,
        })
    }
}

fn load(kind: Kind, program: &[u64]) -> io::Result<OwnedFd> {
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: kind.attach_type,
        ..Default::default()
    };
    // SAFETY: the strings end with a NUL; the instructions are as many as is said, and a u64 has
    // the layout of a bpf_insn (see insn()); options is of the size it says. All outlive the call.
    owned(unsafe {
        libbpf_sys::bpf_prog_load(
            kind.program_type,
            c"bench".as_ptr(),
            c"GPL".as_ptr(),
            program.as_ptr().cast(),
            program.len() as _,
            &mut options,
        )
    })
}

fn map_options() -> libbpf_sys::bpf_map_create_opts {
    libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    }
}

/// libbpf's calls return -1 and set errno, or return -errno.
pub(crate) fn owned(result: i32) -> io::Result<OwnedFd> {
    match result {
        // SAFETY: a call that returns a new descriptor gave it to us alone.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(result) }),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::Error::from_raw_os_error(-result)),
    }
}

const XDP_ABORTED: i32 = 0;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

// Offsets in struct xdp_md.
const DATA: i16 = 0;
const DATA_META: i16 = 8;
const INGRESS_IFINDEX: i16 = 12;
const RX_QUEUE_INDEX: i16 = 16;

const EXIT: u64 = insn(0x95, 0, 0, 0, 0);

const fn move_register(to: u8, from: u8) -> u64 {
    insn(0xbf, to, from, 0, 0)
}

const fn move_value(to: u8, value: i32) -> u64 {
    insn(0xb7, to, 0, 0, value)
}

const fn add_value(to: u8, value: i32) -> u64 {
    insn(0x07, to, 0, 0, value)
}

const fn subtract_register(to: u8, from: u8) -> u64 {
    insn(0x1f, to, from, 0, 0)
}

const fn load_word(to: u8, base: u8, offset: i16) -> u64 {
    insn(0x61, to, base, offset, 0)
}

const fn store_word(base: u8, from: u8, offset: i16) -> u64 {
    insn(0x63, base, from, offset, 0)
}

const fn store_value(base: u8, offset: i16, value: i32) -> u64 {
    insn(0x62, base, 0, offset, value)
}

const fn store_double(base: u8, from: u8, offset: i16) -> u64 {
    insn(0x7b, base, from, offset, 0)
}

/// Adds to 8 bytes at `base`, atomically; `value` becomes what stood there.
const fn fetch_and_add(base: u8, value: u8) -> u64 {
    insn(0xdb, base, value, 0, 0x01)
}

const fn jump_if_equal(left: u8, value: i32, skip: i16) -> u64 {
    insn(0x15, left, 0, skip, value)
}

const fn jump_if_not_equal(left: u8, value: i32, skip: i16) -> u64 {
    insn(0x55, left, 0, skip, value)
}

const fn jump_if_greater(left: u8, right: u8, skip: i16) -> u64 {
    insn(0x2d, left, right, skip, 0)
}

const fn call(helper: u32) -> u64 {
    insn(0x85, 0, 0, 0, helper as i32)
}

/// Loads the address of a map.
fn map_address(to: u8, map: BorrowedFd<'_>) -> [u64; 2] {
    const BPF_PSEUDO_MAP_FD: u8 = 1;
    [
        insn(0x18, to, BPF_PSEUDO_MAP_FD, 0, map.as_raw_fd()),
        insn(0, 0, 0, 0, 0),
    ]
}

/// `struct bpf_insn` on a little-endian machine, which pktmeta's programs are for.
const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((to | from << 4) as u64) << 8
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}
