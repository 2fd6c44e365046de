//! A place where a process may attach and pin BPF programs, and which leaves nothing behind.
//!
//! A sandbox is
//! - a cgroup v2 of its own, below the cgroup of the caller, to attach cgroup programs to; when the
//!   sandbox ends, whatever still runs in it is killed and the cgroup is removed, with everything
//!   attached to it;
//! - a private mount namespace with a new BPF file system on `/sys/fs/bpf`, so that pins of the
//!   host are neither seen nor touched, and pins of the sandbox end with it; some kernels put
//!   `maps.debug` and `progs.debug` into every new one, otherwise it is empty;
//! - a network namespace with nothing but loopback, which is up.
//!
//! Every other mount is that of the host. In particular `/sys/class/net` still shows the host's
//! devices.
//!
//! The sandbox ends when its command does, however that happens, and also when the process that
//! made it is interrupted: SIGINT, SIGTERM and SIGHUP are held back until all is cleaned up. Only
//! SIGKILL gets through; then the kernel kills the command, and the next sandbox removes what was
//! left behind.
//!
//! Needs Linux 5.3, cgroup v2 mounted anywhere, and `CAP_SYS_ADMIN`.

mod cgroup;
mod child;
mod command;
mod inside;
mod interrupt;
mod supervise;
mod test;

pub use command::Sandbox;
pub use test::{in_sandbox, in_sandbox_for};
