//! Directories of the kernel, whose entries may be unreadable.

use std::{ffi::OsString, fs};

/// The entries of a directory that can be read.
pub(crate) fn names(directory: &str) -> impl Iterator<Item = OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name())
}
