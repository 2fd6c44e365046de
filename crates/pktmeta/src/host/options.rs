//! The datapath's socket options: what it answers, what it is told, and what it refuses.

use crate::{
    backend::Backend,
    carrier::Carrier,
    error::{Error, Reason},
};
use pktmeta_core::{
    Record,
    abi::{self, Info},
    record::ParseError,
};
use std::{io, os::fd::BorrowedFd};

/// A buffer for any answer.
pub(crate) const ANSWER: usize = 256;

/// Asks the datapath of a socket who it is.
pub(crate) fn info(socket: BorrowedFd<'_>) -> Result<Info, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, abi::SOL_PKTMETA, abi::PKTMETA_INFO, &mut buffer)?;
    let info = answer
        .and_then(Info::from_bytes)
        .ok_or(Reason::NoDatapath)?;
    if info.version != abi::VERSION {
        return Err(Reason::Version(info.version).into());
    }
    Ok(info)
}

/// The carrier of a socket's tickets, if it has any.
pub(crate) fn carrier(socket: BorrowedFd<'_>) -> Result<Option<Carrier>, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, abi::SOL_PKTMETA, abi::PKTMETA_TICKETS, &mut buffer)?;
    Ok(answer
        .and_then(|answer| answer.try_into().ok())
        .map(i32::from_ne_bytes)
        .and_then(Carrier::from_option))
}

/// The record that the datapath answers with; `None` if there is none.
pub(crate) fn record(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
) -> Result<Option<Record>, Error> {
    let mut buffer = [0; ANSWER];
    let answer = ask(socket, level, name, &mut buffer)?;
    Ok(answer.map(Record::parse).transpose()?)
}

/// The datapath's answer; `None` if it has none (`ENODATA`).
pub(crate) fn ask<'b>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    buffer: &'b mut [u8; ANSWER],
) -> Result<Option<&'b [u8]>, Error> {
    match Backend::of(socket).get(socket, level, name, buffer) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(Error::NotKept),
        Err(error) => Err(refusal(level, error)),
    }
}

/// Sets an option of the datapath.
pub(crate) fn tell(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), Error> {
    let told = Backend::of(socket).set(socket, level, name, value);
    told.map_err(|error| refusal(level, error))
}

/// Deletes the value of an option of the datapath. False if it had none.
pub(crate) fn delete(socket: BorrowedFd<'_>, name: i32) -> Result<bool, Error> {
    match Backend::of(socket).set(socket, abi::SOL_PKTMETA, name, &[]) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODATA)) => {
            Ok(false)
        }
        Err(error) => Err(refusal(abi::SOL_PKTMETA, error)),
    }
}

/// The error that a failed socket option of the datapath means.
fn refusal(level: i32, error: io::Error) -> Error {
    let of_byte = level == abi::SOL_PKTMETA_BYTE;
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Reason::NoDatapath.into(),
        Some(libc::EPROTOTYPE) => Reason::WrongSocket.into(),
        Some(libc::ESTALE) if of_byte => Error::Forgotten,
        Some(libc::EAGAIN) if of_byte => Error::NotArrived,
        Some(libc::ESTALE) => Error::Overrun,
        Some(libc::EPERM) => Error::NotPermitted { field: None },
        Some(libc::ENOSPC) => Error::NoRoom,
        Some(libc::ENOBUFS) => Error::NoMemory,
        // The answer was longer than any record.
        Some(libc::EMSGSIZE) => ParseError::Length.into(),
        _ => Error::io("ask the pktmeta datapath (getsockopt or setsockopt at SOL_PKTMETA)")(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_means_depends_on_what_was_asked_for() {
        let of = |level, errno| refusal(level, io::Error::from_raw_os_error(errno));
        let byte = abi::SOL_PKTMETA_BYTE;
        assert!(matches!(of(byte, libc::ESTALE), Error::Forgotten));
        assert!(matches!(of(byte, libc::EAGAIN), Error::NotArrived));
        for level in [abi::SOL_PKTMETA, abi::SOL_PKTMETA_DGRAM] {
            assert!(matches!(of(level, libc::ESTALE), Error::Overrun));
            assert!(matches!(of(level, libc::EAGAIN), Error::Io { .. }));
        }
    }
}
