//! Giving a record to the datapath.

use crate::{Error, host::options};
use pktmeta_core::{Record, Registry, TlvType};
use std::os::fd::BorrowedFd;

/// Gives the datapath a record with the numbers of `registry` to remember.
pub(super) fn tell(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    record: &Record,
    registry: &Registry,
) -> Result<(), Error> {
    options::tell(socket, level, name, record.as_bytes()).map_err(|error| {
        let types = record.iter().filter_map(|(tag, _)| tag.tlv());
        explain(error, registry, types)
    })
}

/// Adds to the error which field applications must not write.
pub(super) fn explain(
    error: Error,
    registry: &Registry,
    types: impl IntoIterator<Item = TlvType>,
) -> Error {
    let Error::NotPermitted { field: None } = error else {
        return error;
    };
    let fields = types.into_iter().filter_map(|tlv| registry.by_type(tlv));
    let mut fields = fields.filter(|info| !info.policy.writers.app);
    Error::NotPermitted {
        field: fields.next().map(|info| info.name),
    }
}
