//! Connections and datagrams as they arrive, in a log: for `watch` and `exec`.

pub(crate) mod cgroup;
pub(crate) mod log;
pub(crate) mod signals;
pub(crate) mod source;
