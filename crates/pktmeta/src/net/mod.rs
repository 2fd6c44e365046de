//! System calls, and the bytes that they take and give. Nothing here knows of pktmeta.

pub(crate) mod cmsg;
pub(crate) mod map;
pub(crate) mod message;
pub(crate) mod sockaddr;
pub(crate) mod sockopt;

use std::io;

fn checked(result: i64) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
