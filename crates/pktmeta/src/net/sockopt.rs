//! Socket options and addresses.

use super::checked;
#[cfg(feature = "mock")]
use std::net::SocketAddr;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// The bytes of a socket option, stored at the front of `buffer`.
pub(crate) fn get_option<'b>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: The kernel writes at most `length` bytes to `buffer`, which has that many.
    checked(i64::from(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    }))?;
    Ok(buffer.get(..length as usize).unwrap_or(buffer))
}

/// The value of a socket option that is a number.
pub(crate) fn get_number(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut number = [0; 4];
    get_option(socket, level, name, &mut number)?;
    Ok(i32::from_ne_bytes(number))
}

/// Sets a socket option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: The kernel reads as many bytes of `value` as it has.
    checked(i64::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    }))
    .map(drop)
}

/// Sets a socket option that is a number.
pub(crate) fn set_number(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    set_option(socket, level, name, &value.to_ne_bytes())
}

/// Identity of a socket for as long as the host runs.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = [0; 8];
    get_option(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// The address that a socket is bound to.
#[cfg(feature = "mock")]
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    address(socket, libc::getsockname)
}

/// The address that a socket is connected with.
#[cfg(feature = "mock")]
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    address(socket, libc::getpeername)
}

#[cfg(feature = "mock")]
fn address(
    socket: BorrowedFd<'_>,
    call: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> io::Result<SocketAddr> {
    let mut name = [0u8; size_of::<libc::sockaddr_storage>()];
    let mut length = name.len() as libc::socklen_t;
    // SAFETY: The kernel writes at most `length` bytes to `name`, which has that many.
    checked(i64::from(unsafe {
        call(
            socket.as_raw_fd(),
            name.as_mut_ptr().cast(),
            &raw mut length,
        )
    }))?;
    super::sockaddr::parse(&name).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
