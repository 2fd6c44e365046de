//! Files of others, of which no more is read than makes sense, and files that appear whole.

use crate::output;
use anyhow::anyhow;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What a file has, if that is at most `max` bytes: some, as `/dev/zero`, have no end.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?, max)
}

/// What comes until the end, if that is at most `max` bytes.
pub(crate) fn read_all(from: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from.take(max + 1).read_to_end(&mut bytes)?;
    if read as u64 > max {
        let message = format!("it has more than {max} bytes, the most that is read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// As [`read_all`], of text.
pub(crate) fn text(from: impl Read, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read_all(from, max)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A file that appears whole under its name, or not at all.
pub(crate) struct NewFile {
    path: PathBuf,
    aside: PathBuf,
    file: File,
}

impl NewFile {
    /// A file to be, with the permissions of another, of itself if it is there.
    pub(crate) fn create(path: &Path, like: &Path) -> anyhow::Result<Self> {
        let file = Self::create_with(path, 0o666)?;
        let liken = || match fs::metadata(like) {
            Ok(like) => file.file.set_permissions(like.permissions()),
            Err(_) => Ok(()),
        };
        liken().map_err(|error| cannot_write(path, &error))?;
        Ok(file)
    }

    /// A file to be that only its owner can read, whoever could read what stands there now.
    pub(crate) fn create_secret(path: &Path) -> anyhow::Result<Self> {
        Self::create_with(path, 0o600)
    }

    fn create_with(path: &Path, mode: u32) -> anyhow::Result<Self> {
        // Renaming replaces a link; what it points to is meant.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let create = || {
            if path.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&aside)
        };
        match create() {
            Ok(file) => Ok(Self { path, aside, file }),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    /// Gives it all that it has.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        // Where the disk has no room, some file systems say so no earlier than at fsync(2).
        let filled = self.file.write_all(bytes);
        let filled = filled.and_then(|()| self.file.sync_all());
        filled.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Lets it appear.
    pub(crate) fn publish(self) -> anyhow::Result<()> {
        fs::rename(&self.aside, &self.path).map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already if all went well.
        let _ = fs::remove_file(&self.aside);
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = output::name(path);
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk; what was there is unchanged"
        }
        _ => "name a file in a directory that you may write to",
    };
    anyhow!("write {path}: {error}\n  = {remedy}")
}
