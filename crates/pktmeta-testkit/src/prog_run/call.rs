//! The system call below every kind of run.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::error::Error;
use crate::{Result, sys};

const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// How often a run that a signal cut short is tried again.
const MAX_INTERRUPTIONS: usize = 100;

/// An errno of the kernel's own that libc does not know: this type of program cannot be run.
const ENOTSUPP: i32 = 524;

/// `union bpf_attr` for `BPF_PROG_TEST_RUN`. A kernel that knows fewer fields takes them if they
/// are zero.
#[repr(C)]
#[derive(Debug, Default)]
struct Attr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    /// The union is a multiple of 8 long; padding that C would leave undefined has to be zero here.
    padding: u32,
}

/// One run. Output is written to the given buffers, which may be empty if it is not wanted.
pub(super) struct Call<'a> {
    pub(super) program: BorrowedFd<'a>,
    pub(super) data_in: &'a [u8],
    pub(super) data_out: &'a mut [u8],
    pub(super) context_in: &'a [u8],
    pub(super) context_out: &'a mut [u8],
    pub(super) repeat: u32,
    pub(super) flags: u32,
    pub(super) batch_size: u32,
}

/// The kernel's results of a run.
pub(super) struct Returned {
    pub(super) retval: u32,
    /// Bytes written to `data_out`.
    pub(super) data_len: usize,
    /// Time of one repetition, on average.
    pub(super) duration: Duration,
}

impl Call<'_> {
    /// Runs the program; again, if a signal interrupts a run that has no effects.
    pub(super) fn run(mut self) -> Result<Returned> {
        let again = if self.has_effects() {
            0
        } else {
            MAX_INTERRUPTIONS
        };
        let mut result = self.run_once();
        for _ in 0..again {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    result = self.run_once()
                }
                _ => break,
            }
        }
        result.map_err(|error| {
            Error::with_source(
                format!("the kernel refused to run the program{}", hint(&error)),
                error,
            )
        })
    }

    fn has_effects(&self) -> bool {
        self.flags != 0
    }

    fn run_once(&mut self) -> io::Result<Returned> {
        let mut attr = Attr {
            prog_fd: self.program.as_raw_fd() as u32,
            data_size_in: length(self.data_in)?,
            data_size_out: length(self.data_out)?,
            data_in: address(self.data_in),
            data_out: address_mut(self.data_out),
            repeat: self.repeat,
            ctx_size_in: length(self.context_in)?,
            ctx_size_out: length(self.context_out)?,
            ctx_in: address(self.context_in),
            ctx_out: address_mut(self.context_out),
            flags: self.flags,
            batch_size: self.batch_size,
            ..Attr::default()
        };
        let size = size_of::<Attr>();
        // SAFETY: `attr` is as long as `size` says. Each address in it is null or that of a slice
        // that is borrowed (mutably where the kernel writes) until after the call, with the length
        // of that slice.
        sys::check_long(unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attr, size)
        })?;
        Ok(Returned {
            retval: attr.retval,
            data_len: (attr.data_size_out as usize).min(self.data_out.len()),
            duration: Duration::from_nanos(attr.duration.into()),
        })
    }
}

/// The remedy for an error that people actually meet.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "; it needs CAP_BPF and CAP_NET_ADMIN (root)",
        Some(ENOTSUPP | libc::EOPNOTSUPP) => "; programs of this type cannot be run on demand",
        Some(libc::ENODEV) => "; there is no such device in the network namespace of this thread",
        Some(libc::ENOSPC) => {
            "; what it made of the packet does not fit a page more than the packet"
        }
        Some(libc::EINVAL) => {
            "; the type of the program is not the type of this run, the receive queue does not \
             exist, or this kernel lacks the feature"
        }
        Some(libc::EINTR) => "; a signal came in between, and some frames may have been sent",
        _ => "",
    }
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))
}

/// Null for an empty slice: the kernel looks at the pointer to know whether there is a buffer.
fn address(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        0
    } else {
        bytes.as_ptr() as u64
    }
}

fn address_mut(bytes: &mut [u8]) -> u64 {
    if bytes.is_empty() {
        0
    } else {
        bytes.as_mut_ptr() as u64
    }
}
