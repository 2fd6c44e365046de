//! Numbers of Linux that not every version of the libc crate has.
//!
//! They are those of `include/uapi/asm-generic/socket.h`: of all processors but PA-RISC and SPARC.

/// The socket option that makes `recvmsg` hand over a packet's mark.
pub const SO_RCVMARK: i32 = 75;
/// The socket option that makes `recvmsg` hand over a packet's priority.
pub const SO_RCVPRIORITY: i32 = 82;
