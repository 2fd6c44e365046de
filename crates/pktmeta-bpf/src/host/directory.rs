//! Directories of the kernel, of which what cannot be read is left out.

use std::{ffi::OsString, fs};

/// What is in a directory; nothing if it cannot be read.
pub(crate) fn names(directory: &str) -> impl Iterator<Item = OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name())
}
