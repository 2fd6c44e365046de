//! Pinned BPF maps, mapped into memory.

use super::checked;
use std::{
    ffi::CStr,
    fs::File,
    io,
    ops::Deref,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::AtomicU32,
};

/// True if system calls of this thread pass a seccomp filter.
pub(crate) fn has_seccomp_filter() -> bool {
    // SAFETY: PR_GET_SECCOMP takes no pointers.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    // Without seccomp in the kernel, EINVAL.
    mode > 0
}

/// Fails as [`open`] would for a path or permission, but without bpf(2).
pub(crate) fn probe_pin(path: &Path) -> io::Result<()> {
    let opened = File::options().read(true).write(true).open(path);
    match opened {
        // The error of bpffs for an object that it cannot show as text (`bpffs_obj_open`).
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
        opened => opened.map(drop),
    }
}

/// Opens a pinned map, to be mapped. That takes permission to write, though nothing is written:
/// `do_mmap` makes a mapping of a file without `FMODE_WRITE` private, and `bpf_map_mmap` maps
/// nothing privately.
pub(crate) fn open(path: &CStr) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ObjGet {
        path: u64,
        unused: u32,
        flags: u32,
    }
    const BPF_OBJ_GET: i32 = 7;
    let mut attributes = ObjGet {
        path: path.as_ptr().expose_provenance() as u64,
        unused: 0,
        flags: 0,
    };
    // SAFETY: These are BPF_OBJ_GET's attributes, and `path` ends with a NUL.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attributes)? };
    // SAFETY: The kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The first words of the kernel's `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MapInfo {
    pub(crate) map_type: u32,
    id: u32,
    key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    map_flags: u32,
}

/// Type and sizes of an open map.
pub(crate) fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    #[repr(C)]
    struct GetInfo {
        map: i32,
        size: u32,
        info: u64,
    }
    const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
    let mut info = MapInfo::default();
    let mut attributes = GetInfo {
        map: map.as_raw_fd(),
        size: size_of::<MapInfo>() as u32,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: These are BPF_OBJ_GET_INFO_BY_FD's attributes; `info` has `size` bytes, and any bytes
    // make a `MapInfo`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)? };
    Ok(info)
}

/// # Safety
/// `attributes` must be those of `command`, and what they point to must be fit for it.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<usize> {
    // SAFETY: `attributes` has the size that is said; the rest is the caller's promise.
    checked(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            ptr::from_mut(attributes),
            size_of::<T>(),
        )
    } as i64)
}

/// Memory that others write to, as words: any number of `[AtomicU32; N]`.
pub(crate) struct Mapping<const N: usize> {
    start: NonNull<[AtomicU32; N]>,
    count: usize,
}

impl<const N: usize> Mapping<N> {
    /// The first `count` entries of a map that can be mapped, read-only.
    pub(crate) fn of_map(map: BorrowedFd<'_>, count: usize) -> io::Result<Self> {
        // SAFETY: An array map cannot shrink, so that its pages stay readable.
        unsafe { Self::new(count, libc::PROT_READ, libc::MAP_SHARED, map.as_raw_fd()) }
    }

    /// Memory in two places: as applications see it, and as the kernel does, which writes to it.
    #[cfg(test)]
    pub(crate) fn anonymous_twice(count: usize) -> io::Result<[Self; 2]> {
        use std::os::fd::AsFd;
        // SAFETY: The name ends with a NUL.
        let fd = unsafe { libc::memfd_create(c"pktmeta".as_ptr(), libc::MFD_CLOEXEC) };
        let fd = checked(fd.into())? as i32;
        // SAFETY: The kernel just made this descriptor for us.
        let memory = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        memory.set_len((count * size_of::<[AtomicU32; N]>()) as u64)?;
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: Nobody makes the file shorter.
        let kernel = unsafe { Self::new(count, writable, libc::MAP_SHARED, fd)? };
        Ok([Self::of_map(memory.as_fd(), count)?, kernel])
    }

    /// # Safety
    /// The memory must be readable for as long as it is mapped.
    unsafe fn new(count: usize, protection: i32, flags: i32, fd: i32) -> io::Result<Self> {
        let bytes = count
            .checked_mul(size_of::<[AtomicU32; N]>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: A new mapping, at an address that the kernel chooses, touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, count })
    }
}

impl<const N: usize> Deref for Mapping<N> {
    type Target = [[AtomicU32; N]];

    fn deref(&self) -> &Self::Target {
        // SAFETY: `start` is page-aligned and mapped for `count` entries until `self` is dropped.
        // Any bits are an `AtomicU32`, and they may change under it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<const N: usize> Drop for Mapping<N> {
    fn drop(&mut self) {
        // SAFETY: This mapping is ours, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), size_of_val(&**self)) };
    }
}

// SAFETY: A mapping belongs to the process, not to a thread; its content is atomic.
unsafe impl<const N: usize> Send for Mapping<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for Mapping<N> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, thread};

    /// Makes every later system call of this thread pass a filter, which allows them all.
    fn filter_system_calls() {
        let mut allow = libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        let program = libc::sock_fprog {
            len: 1,
            filter: &raw mut allow,
        };
        // SAFETY: No pointers. It holds for this thread alone, as does the filter.
        let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(alone, 0, "{}", io::Error::last_os_error());
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: The program has the one instruction that it says it has; the kernel copies it.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn a_seccomp_filter_of_the_thread_is_seen() {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(has_seccomp_filter(), !status.contains("Seccomp:\t0\n"));
        let filtered = thread::spawn(|| {
            filter_system_calls();
            has_seccomp_filter()
        });
        assert!(filtered.join().unwrap());
    }

    #[test]
    fn memory_is_unmapped_when_it_is_dropped() {
        let maps = || fs::read_to_string("/proc/self/maps").unwrap();
        let memory = Mapping::<1>::anonymous_twice(1).unwrap();
        let starts = memory
            .each_ref()
            .map(|it| format!("{:x}-", it.start.as_ptr() as usize));
        let before = maps();
        // The file's device and inode, which no other mapping has.
        let file = before
            .lines()
            .find(|line| line.starts_with(&starts[0]))
            .unwrap();
        let file: Vec<_> = file.split_whitespace().skip(3).take(2).collect();
        let file = file.join(" ");
        assert_eq!(before.matches(&file).count(), 2, "{before}");
        drop(memory);
        assert_eq!(maps().matches(&file).count(), 0, "{}", maps());
    }

    #[test]
    fn a_pin_that_is_not_there_is_told_without_bpf() {
        let missing = probe_pin(Path::new("/nonexistent/ring")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
