//! Receiving and sending messages.

use super::checked;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Repeats a system call until no signal interrupts it.
pub(crate) fn uninterrupted(mut call: impl FnMut() -> i64) -> io::Result<usize> {
    loop {
        match checked(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Receives as many messages as there are and as there are headers for, and returns their number.
/// Blocks for the first only, if the socket blocks.
///
/// # Safety
/// The headers must point to memory that the kernel may write to.
pub(crate) unsafe fn receive_many(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    // SAFETY: There are as many headers as is said; the rest is the caller's promise.
    uninterrupted(|| unsafe {
        i64::from(libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_WAITFORONE as _,
            ptr::null_mut(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_repeated_until_no_signal_interrupts_it() {
        let mut interruptions = 2;
        let result = uninterrupted(|| {
            if interruptions == 0 {
                return 5;
            }
            interruptions -= 1;
            // SAFETY: it points to this thread's errno.
            unsafe { *libc::__errno_location() = libc::EINTR };
            -1
        });
        assert_eq!((result.unwrap(), interruptions), (5, 0));
    }
}
