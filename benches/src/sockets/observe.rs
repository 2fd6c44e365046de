//! Counts what has no counter: system calls, and sockets with storage.

use crate::bpf::owned;
use anyhow::Context;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_bpf::{Object, ObjectOptions};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// The programs that count.
pub(super) struct Observer {
    calls: Object,
    storage: Object,
}

impl Observer {
    pub(super) fn new() -> anyhow::Result<Self> {
        // SAFETY: takes no memory of ours.
        let thread = unsafe { libc::gettid() };
        let options = ObjectOptions {
            globals: vec![("thread", thread.to_ne_bytes().into())],
            ..ObjectOptions::default()
        };
        Ok(Self {
            calls: Object::load("observe", OBSERVE, &options)?,
            storage: Object::load("count", COUNT, &ObjectOptions::default())?,
        })
    }

    /// How many system calls this thread makes in `work`, and what that returns.
    pub(super) fn system_calls<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(u64, T)> {
        let program = self.calls.program("count_call")?;
        let name = c"sys_enter".as_ptr();
        // SAFETY: the name ends with a NUL.
        let opened = unsafe { libbpf_sys::bpf_raw_tracepoint_open(name, program.as_raw_fd()) };
        let _attached = owned(opened).context("watch system calls")?;
        let counter = self.calls.map("system_calls")?;
        let count = || {
            let value = counter.lookup(&0u32.to_ne_bytes(), MapFlags::ANY)?;
            let bytes = value.and_then(|value| value.try_into().ok());
            anyhow::Ok(u64::from_ne_bytes(bytes.context("no counter")?))
        };
        // What reading the counter takes itself.
        let (first, second) = (count()?, count()?);
        let result = work()?;
        Ok((count()? - second - (second - first), result))
    }

    /// How many sockets have something in a map of socket storage.
    pub(super) fn stored(&self, map: &MapHandle) -> anyhow::Result<u64> {
        let program = self.storage.program("count")?;
        let iterator = iterate(program, map.as_fd()).context("walk the socket storage")?;
        let mut found = Vec::new();
        File::from(iterator).read_to_end(&mut found)?;
        Ok(found.len() as u64)
    }
}

const OBSERVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/observe.bpf.o"));
const COUNT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/count.bpf.o"));

/// Opens an iteration of `program` over the elements of a map.
fn iterate(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut info = libbpf_sys::bpf_iter_link_info::default();
    info.map.map_fd = map.as_raw_fd() as _;
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        iter_info: &mut info,
        iter_info_len: size_of_val(&info) as _,
        ..Default::default()
    };
    // SAFETY: `options` and the `info` it points to have the sizes that are said.
    let link = owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), 0, libbpf_sys::BPF_TRACE_ITER, &options)
    })?;
    // SAFETY: takes no memory of ours.
    owned(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) })
}
