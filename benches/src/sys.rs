//! The few system calls that nobody wraps for us.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Keeps the calling thread, and those it starts, on one of the CPUs that it may use: the last,
/// because the first has most of the interrupts.
pub(crate) fn stay_on_one_cpu() -> io::Result<()> {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a cpu_set_t is bits, and may be all zeros.
    let (mut allowed, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { mem::zeroed() };
    // SAFETY: `allowed` is SIZE bytes that may be written.
    checked(unsafe { libc::sched_getaffinity(0, SIZE, &mut allowed) } as _)?;
    let cpus = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: below CPU_SETSIZE, all bits are in the set.
    let mut usable = cpus.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) });
    let last = usable.next_back().ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: as above.
    unsafe { libc::CPU_SET(last, &mut one) };
    // SAFETY: `one` is SIZE bytes that may be read.
    checked(unsafe { libc::sched_setaffinity(0, SIZE, &one) } as _).map(drop)
}

/// Lets this process open as many descriptors as it may; their number.
pub(crate) fn allow_descriptors() -> io::Result<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is what the call writes.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } as _)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is what the call reads.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } as _)?;
    Ok(limit.rlim_cur as usize)
}

/// A child of this process that does some `work` and ends.
pub(crate) struct Child {
    id: libc::pid_t,
}

impl Child {
    /// # Safety
    /// This process has no other threads: what they held, memory or locks, would be held for good.
    pub(crate) unsafe fn fork(work: impl FnOnce() -> anyhow::Result<()>) -> io::Result<Self> {
        // SAFETY: the caller promises that there is only this thread.
        match checked(unsafe { libc::fork() } as _)? {
            0 => {
                let status = match work() {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("Error: {error:#}");
                        1
                    }
                };
                // SAFETY: ends the child at once: what is to be dropped is the parent's.
                unsafe { libc::_exit(status) }
            }
            id => Ok(Self { id: id as _ }),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child is ours and was not waited for; no memory is written.
        unsafe {
            libc::kill(self.id, libc::SIGKILL);
            libc::waitpid(self.id, ptr::null_mut(), 0);
        }
    }
}

/// Room for the control messages of one datagram.
const CONTROL: usize = 64;

/// What is wanted of received datagrams beside their payload.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Beside {
    Nothing,
    Address,
    AddressAndControl,
}

/// Datagrams of equal size that go in one system call.
pub(crate) struct Burst {
    messages: Vec<libc::mmsghdr>,
    /// What the messages point to.
    _payloads: Vec<libc::iovec>,
    _names: Vec<libc::sockaddr_storage>,
    _bytes: Vec<u8>,
    /// Words, because a `cmsghdr` is aligned to them.
    controls: Vec<[u64; CONTROL / 8]>,
}

impl Burst {
    /// Room for so many `datagrams` of `bytes_each`.
    pub(crate) fn new(datagrams: usize, bytes_each: usize, beside: Beside) -> Self {
        let mut bytes = vec![0; datagrams * bytes_each];
        let start: *mut u8 = bytes.as_mut_ptr();
        let mut payloads: Vec<_> = (0..datagrams)
            .map(|at| libc::iovec {
                iov_base: start.wrapping_add(at * bytes_each).cast(),
                iov_len: bytes_each,
            })
            .collect();
        // SAFETY: a sockaddr_storage may be all zeros.
        let zero_name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let mut names = match beside {
            Beside::Nothing => Vec::new(),
            Beside::Address | Beside::AddressAndControl => vec![zero_name; datagrams],
        };
        let mut controls = match beside {
            Beside::Nothing | Beside::Address => Vec::new(),
            Beside::AddressAndControl => vec![[0; CONTROL / 8]; datagrams],
        };
        let (payload, name) = (payloads.as_mut_ptr(), names.as_mut_ptr());
        let control = controls.as_mut_ptr();
        let messages = (0..datagrams)
            .map(|at| {
                // SAFETY: a mmsghdr of zeros is one without buffers.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_iov = payload.wrapping_add(at);
                message.msg_hdr.msg_iovlen = 1;
                if !names.is_empty() {
                    message.msg_hdr.msg_name = name.wrapping_add(at).cast();
                }
                if !controls.is_empty() {
                    message.msg_hdr.msg_control = control.wrapping_add(at).cast();
                }
                message
            })
            .collect();
        Self {
            messages,
            _payloads: payloads,
            _names: names,
            _bytes: bytes,
            controls,
        }
    }

    /// Sends all of them on a connected socket; the number that the kernel took.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let messages = self.messages.as_mut_ptr();
        let count = self.messages.len() as libc::c_uint;
        // SAFETY: each of `count` messages points to an iovec, and that to payload, which are ours
        // and do not move as long as `self` is there.
        checked(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, count, 0) } as _)
    }

    /// Receives as many as there are and fit, at least one; their number.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for message in &mut self.messages {
            let header = &mut message.msg_hdr;
            if !header.msg_name.is_null() {
                // The kernel wrote the length of the last address there.
                header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
            }
            if !header.msg_control.is_null() {
                header.msg_controllen = CONTROL as _;
            }
        }
        let messages = self.messages.as_mut_ptr();
        let count = self.messages.len() as libc::c_uint;
        // SAFETY: as for sending; a name has the room that msg_namelen says.
        checked(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages,
                count,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        } as _)
    }
}

impl Burst {
    /// The tickets of the first `count` datagrams of those that were received last.
    pub(crate) fn tickets(&self, count: usize) -> impl Iterator<Item = Option<u32>> {
        let messages = self.messages.iter().zip(&self.controls).take(count);
        messages.map(|(message, control)| {
            // The kernel's struct cmsghdr is a length, level and type, 16 bytes; the value follows.
            let length: usize = message.msg_hdr.msg_controllen as _;
            let whole = length >= 20;
            whole.then_some(control[2] as u32)
        })
    }
}

/// Receives a datagram, drops its payload, and returns its control messages.
pub(crate) fn receive_control(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    #[repr(align(8))]
    struct Aligned([u8; 256]);
    let mut control = Aligned([0; 256]);
    // SAFETY: a msghdr of zeros is one without buffers.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header points to `control` alone, which has the length that it says.
    checked(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, 0) })?;
    Ok(control.0[..header.msg_controllen as usize].to_vec())
}

/// The value of a socket option; its length.
pub(crate) fn get_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: `value` has `length` bytes that may be written.
    checked(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &mut length,
        )
    } as _)?;
    Ok(length as usize)
}

/// Bytes that are charged to a socket's option memory, where socket storage is.
pub(crate) fn option_memory(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // Of SO_MEMINFO; linux/sock_diag.h.
    const OPTION_MEMORY: usize = 6;
    let mut numbers = [0; 4 * (OPTION_MEMORY + 1)];
    get_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut numbers)?;
    let bytes = numbers[4 * OPTION_MEMORY..].first_chunk();
    Ok(bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes).into()))
}

/// The value of an array map at `index`.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// The map has values of `value.len()` bytes or fewer, and keys of 4.
pub(crate) unsafe fn look_up(map: BorrowedFd<'_>, index: u32, value: &mut [u8]) -> io::Result<()> {
    let key: *const u32 = &index;
    let result = {
        // SAFETY: the key has 4 bytes, and `value` the room that the caller promises.
        unsafe {
            libbpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), key.cast(), value.as_mut_ptr().cast())
        }
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
