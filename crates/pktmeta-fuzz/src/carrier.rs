//! The codec in C, on memory that shows when it goes astray.

use std::{cell::RefCell, ptr};

/// Bytes that the C codec works on. They end where memory ends, so that a byte read behind them is
/// a fault, and what is in front of them is looked at when they are dropped.
#[derive(Debug)]
pub(crate) struct Carrier {
    page: Page,
    capacity: usize,
}

impl Carrier {
    /// More than any carrier has.
    pub(crate) const CAPACITY_MAX: usize = 300;

    /// A carrier of these bytes, cut to [`Carrier::CAPACITY_MAX`].
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(Self::CAPACITY_MAX)];
        let mut carrier = Self {
            page: Page::take(),
            capacity: bytes.len(),
        };
        carrier.page.bytes_mut().fill(CANARY);
        carrier.bytes_mut().copy_from_slice(bytes);
        carrier
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = self.page.bytes();
        &bytes[bytes.len() - self.capacity..]
    }

    /// True if a whole record starts here.
    pub(crate) fn check(&self) -> bool {
        // SAFETY: the bytes are as many as is said, and C only reads them.
        unsafe { codec_check(self.bytes().as_ptr(), self.capacity) == 1 }
    }

    /// Length of the record that starts here, torn or not; 0 if none does.
    pub(crate) fn length(&self) -> usize {
        // SAFETY: the bytes are as many as is said, and C only reads them.
        unsafe { codec_length(self.bytes().as_ptr(), self.capacity) as usize }
    }

    /// Offset of the field with this tag.
    pub(crate) fn find(&self, tag: u8) -> Found {
        // SAFETY: the bytes are as many as is said, and C only reads them.
        match unsafe { codec_find(self.bytes().as_ptr(), self.capacity, tag) } {
            0 => Found::Nowhere,
            0xff => Found::Torn,
            at => Found::At(at as usize),
        }
    }

    /// The field's value.
    pub(crate) fn get(&self, tag: u8) -> Result<Vec<u8>, i64> {
        let mut value = [0; 256];
        // SAFETY: the bytes are as many as is said, C only reads them, and writes no more than 256
        // to value: a size and 255 bytes, or 8.
        let result =
            unsafe { codec_get(self.bytes().as_ptr(), self.capacity, tag, &raw mut value) };
        errno(result)?;
        Ok(match tag >> 6 {
            0 => value[1..1 + usize::from(value[0])].to_vec(),
            code => value[..1 << code].to_vec(),
        })
    }

    /// The field's value, if it has this size.
    pub(crate) fn get_fixed(&self, tag: u8, size: u8) -> Result<Vec<u8>, i64> {
        let mut value = [0; 256];
        let (bytes, size) = (self.bytes().as_ptr(), size.into());
        // SAFETY: as in get(); no more than size bytes are written to value.
        errno(unsafe { codec_get_fixed(bytes, self.capacity, tag, &raw mut value, size) })?;
        Ok(value[..size as usize].to_vec())
    }

    /// Sets a field.
    pub(crate) fn set(&mut self, tag: u8, value: &[u8]) -> Result<(), i64> {
        let (bytes, size) = (self.bytes_mut().as_mut_ptr(), value.len());
        // SAFETY: bytes and value are as many as is said; C writes to bytes, which are borrowed
        // for that, and reads value.
        errno(unsafe { codec_set(bytes, self.capacity, tag, value.as_ptr(), size) })
    }

    /// Deletes a field.
    pub(crate) fn remove(&mut self, tag: u8) -> Result<(), i64> {
        // SAFETY: the bytes are as many as is said and are borrowed to be written.
        errno(unsafe { codec_remove(self.bytes_mut().as_mut_ptr(), self.capacity, tag) })
    }

    /// Closes the voids.
    pub(crate) fn compact(&mut self) -> Result<(), i64> {
        // SAFETY: the bytes are as many as is said and are borrowed to be written.
        errno(unsafe { codec_compact(self.bytes_mut().as_mut_ptr(), self.capacity) })
    }

    /// Sets every field of another record.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), i64> {
        let (bytes, capacity) = (self.bytes_mut().as_mut_ptr(), self.capacity);
        // SAFETY: both are as many bytes as is said; C writes to the first, which are borrowed for
        // that, and reads the others, which are another page's.
        errno(unsafe { codec_merge(bytes, capacity, other.bytes().as_ptr(), other.capacity) })
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.page.bytes_mut();
        let start = bytes.len() - self.capacity;
        &mut bytes[start..]
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let bytes = self.page.bytes();
        let front = &bytes[..bytes.len() - self.capacity];
        if !std::thread::panicking() {
            assert!(
                front.iter().all(|&byte| byte == CANARY),
                "C wrote in front of the record"
            );
        }
        FREE.with_borrow_mut(|free| free.push(self.page));
    }
}

/// What [`Carrier::find`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A field at this offset.
    At(usize),
    /// No such field.
    Nowhere,
    /// No such field, but a TLV that runs past the record's end.
    Torn,
}

/// What stands in front of a carrier.
const CANARY: u8 = 0xc5;

/// Memory behind which there is none that may be touched. It is never unmapped, but used again.
#[derive(Clone, Copy, Debug)]
struct Page(*mut u8);

impl Page {
    /// Room for a carrier and for a canary in front of it. The rest of the page is not used.
    const SIZE: usize = Carrier::CAPACITY_MAX + 20;

    fn take() -> Self {
        let free = FREE.with_borrow_mut(Vec::pop);
        free.unwrap_or_else(Self::map)
    }

    fn map() -> Self {
        // SAFETY: takes no memory of ours.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: asks for new memory, wherever the kernel likes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                2 * page,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED, "no memory");
        // SAFETY: the first of the two pages is ours alone.
        let allowed = unsafe { libc::mprotect(start, page, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(allowed, 0, "no memory");
        // SAFETY: a page is larger than SIZE.
        Self(unsafe { start.cast::<u8>().add(page - Self::SIZE) })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: SIZE bytes from there on are mapped for as long as the process lives, are ours
        // alone, and were zero at first.
        unsafe { std::slice::from_raw_parts(self.0, Self::SIZE) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in bytes(), and self is borrowed to be written.
        unsafe { std::slice::from_raw_parts_mut(self.0, Self::SIZE) }
    }
}

thread_local! {
    /// Of carriers that were dropped.
    static FREE: RefCell<Vec<Page>> = const { RefCell::new(Vec::new()) };
}

fn errno(result: i64) -> Result<(), i64> {
    match result {
        0 => Ok(()),
        error => Err(-error),
    }
}

unsafe extern "C" {
    fn codec_check(record: *const u8, capacity: usize) -> i32;
    fn codec_length(record: *const u8, capacity: usize) -> u32;
    fn codec_find(record: *const u8, capacity: usize, tag: u8) -> u32;
    fn codec_get(record: *const u8, capacity: usize, tag: u8, value: *mut [u8; 256]) -> i64;
    fn codec_get_fixed(
        record: *const u8,
        capacity: usize,
        tag: u8,
        value: *mut [u8; 256],
        size: u32,
    ) -> i64;
    fn codec_set(record: *mut u8, capacity: usize, tag: u8, value: *const u8, size: usize) -> i64;
    fn codec_remove(record: *mut u8, capacity: usize, tag: u8) -> i64;
    fn codec_compact(record: *mut u8, capacity: usize) -> i64;
    fn codec_merge(
        record: *mut u8,
        capacity: usize,
        other: *const u8,
        other_capacity: usize,
    ) -> i64;
}
