//! Programs of somebody else's.

use std::{
    ffi::CStr,
    io,
    os::fd::{FromRawFd, OwnedFd},
    ptr,
};

/// An XDP program of somebody else's, which lets packets pass as they are.
pub(crate) fn passing_xdp() -> OwnedFd {
    const XDP_PASS: i32 = 2;
    program(libbpf_sys::BPF_PROG_TYPE_XDP, c"pass", &[], XDP_PASS)
}

/// Loads a program of somebody else's that ends with this result.
pub(super) fn program(
    kind: libbpf_sys::bpf_prog_type,
    name: &CStr,
    instructions: &[libbpf_sys::bpf_insn],
    result: i32,
) -> OwnedFd {
    let end = [
        libbpf_sys::bpf_insn {
            imm: result,
            ..instruction(libbpf_sys::BPF_ALU64 | libbpf_sys::BPF_MOV, 0)
        },
        instruction(libbpf_sys::BPF_JMP | libbpf_sys::BPF_EXIT, 0),
    ];
    let program = [instructions, &end].concat();
    // SAFETY: the instructions and strings outlive the call; no options are passed.
    descriptor(unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            name.as_ptr(),
            c"GPL".as_ptr(),
            program.as_ptr(),
            program.len() as _,
            ptr::null_mut(),
        )
    })
}

/// An instruction without the rest of its operands.
pub(super) fn instruction(code: u32, destination: u8) -> libbpf_sys::bpf_insn {
    let mut instruction = libbpf_sys::bpf_insn {
        code: code as u8,
        ..Default::default()
    };
    instruction.set_dst_reg(destination);
    instruction
}

#[track_caller]
pub(super) fn descriptor(result: i32) -> OwnedFd {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(result) }
}
