//! Programs of a few raw instructions, so that the tests need neither a compiler nor a loader.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_TCX_INGRESS: u32 = 46;

const XDP_ABORTED: i32 = 0;
const XDP_PASS: i32 = 2;
const TC_ACT_OK: i32 = 0;
const TC_ACT_SHOT: i32 = 2;

/// What [`xdp_label`] writes in front of a packet, and [`tc_label_required`] looks for.
pub(crate) const LABEL: u32 = 0x6d74_6b70;

/// XDP: passes everything.
pub(crate) fn xdp_pass() -> OwnedFd {
    load(BPF_PROG_TYPE_XDP, &[mov_imm(0, XDP_PASS), EXIT])
}

/// XDP: passes everything, and says that it can take packets of several pages.
pub(crate) fn xdp_pass_with_fragments() -> OwnedFd {
    const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
    load_with(
        BPF_F_XDP_HAS_FRAGS,
        BPF_PROG_TYPE_XDP,
        &[mov_imm(0, XDP_PASS), EXIT],
    )
}

/// XDP: labels every packet with [`LABEL`] and passes it.
pub(crate) fn xdp_label() -> OwnedFd {
    const ADJUST_META: i32 = 54;
    let program = [
        mov(6, 1),
        mov_imm(2, -4),
        call(ADJUST_META),
        jump_ne_imm(0, 0, 8),
        load_u32(2, 6, 8), // data_meta
        load_u32(3, 6, 0), // data
        mov(4, 2),
        add_imm(4, 4),
        jump_gt(4, 3, 3),
        store_u32(2, LABEL as i32),
        mov_imm(0, XDP_PASS),
        EXIT,
        mov_imm(0, XDP_ABORTED),
        EXIT,
    ];
    load(BPF_PROG_TYPE_XDP, &program)
}

/// XDP: returns the index of the device the packet came from.
pub(crate) fn xdp_ingress_ifindex() -> OwnedFd {
    load(BPF_PROG_TYPE_XDP, &[load_u32(0, 1, 12), EXIT])
}

/// TC: adds one to the mark.
pub(crate) fn tc_count_in_mark() -> OwnedFd {
    let program = [
        load_u32(2, 1, 8),
        add_imm(2, 1),
        store_reg_u32(1, 2, 8),
        mov_imm(0, TC_ACT_OK),
        EXIT,
    ];
    load(BPF_PROG_TYPE_SCHED_CLS, &program)
}

/// TC: drops what has not [`LABEL`] in front of it.
pub(crate) fn tc_label_required() -> OwnedFd {
    let program = [
        load_u32(2, 1, 140), // data_meta
        load_u32(3, 1, 76),  // data
        mov(4, 2),
        add_imm(4, 4),
        jump_gt(4, 3, 4),
        load_u32(5, 2, 0),
        jump_ne_imm(5, LABEL as i32, 2),
        mov_imm(0, TC_ACT_OK),
        EXIT,
        mov_imm(0, TC_ACT_SHOT),
        EXIT,
    ];
    load(BPF_PROG_TYPE_SCHED_CLS, &program)
}

/// Attaches to TC ingress of a device in the namespace of this thread, until the link is dropped.
pub(crate) fn attach_tc_ingress(program: BorrowedFd<'_>, ifindex: u32) -> OwnedFd {
    // prog_fd, target_ifindex, attach_type, flags, and options that stay zero
    let mut attr = [0_u32; 12];
    attr[..3].copy_from_slice(&[program.as_raw_fd() as u32, ifindex, BPF_TCX_INGRESS]);
    bpf(BPF_LINK_CREATE, (&raw mut attr).cast(), size_of_val(&attr))
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

fn load(prog_type: u32, program: &[u64]) -> OwnedFd {
    load_with(0, prog_type, program)
}

fn load_with(prog_flags: u32, prog_type: u32, program: &[u64]) -> OwnedFd {
    let mut attr = LoadAttr {
        prog_type,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_flags,
        ..LoadAttr::default()
    };
    bpf(BPF_PROG_LOAD, (&raw mut attr).cast(), size_of::<LoadAttr>())
}

fn bpf(command: libc::c_int, attr: *mut libc::c_void, size: usize) -> OwnedFd {
    // SAFETY: the callers pass a valid attr for the command, of that size, and what it points to is
    // alive.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) };
    assert!(
        fd >= 0,
        "bpf command {command}: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the descriptor was just made and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }
}

const EXIT: u64 = insn(0x95, 0, 0, 0, 0);

const fn mov(to: u8, from: u8) -> u64 {
    insn(0xbf, to, from, 0, 0)
}

const fn mov_imm(to: u8, value: i32) -> u64 {
    insn(0xb7, to, 0, 0, value)
}

const fn add_imm(to: u8, value: i32) -> u64 {
    insn(0x07, to, 0, 0, value)
}

const fn call(helper: i32) -> u64 {
    insn(0x85, 0, 0, 0, helper)
}

const fn load_u32(to: u8, base: u8, offset: i16) -> u64 {
    insn(0x61, to, base, offset, 0)
}

const fn store_u32(base: u8, value: i32) -> u64 {
    insn(0x62, base, 0, 0, value)
}

const fn store_reg_u32(base: u8, from: u8, offset: i16) -> u64 {
    insn(0x63, base, from, offset, 0)
}

const fn jump_gt(left: u8, right: u8, skip: i16) -> u64 {
    insn(0x2d, left, right, skip, 0)
}

/// Compares 32 bits.
const fn jump_ne_imm(left: u8, value: i32, skip: i16) -> u64 {
    insn(0x56, left, 0, skip, value)
}

/// `struct bpf_insn` on a little-endian machine.
const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((to | from << 4) as u64) << 8
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}
