//! The header library for other people's BPF programs, as files.

use crate::error::{Context, Error, Shown};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file by which pkg-config finds them, wherever `prefix` is moved to.
pub const PKG_CONFIG: &str = concat!(
    "prefix=${pcfiledir}/../..\n",
    "includedir=${prefix}/include\n\n",
    "Name: pktmeta\n",
    "Description: Packet metadata for BPF programs and their loaders\n",
    "Version: ",
    env!("CARGO_PKG_VERSION"),
    "\n",
    "Cflags: -I${includedir} -I${includedir}/pktmeta/uapi\n",
);

/// Writes the headers to `prefix/include/pktmeta` and the pkg-config file to
/// `prefix/share/pkgconfig`: what was written, in order.
///
/// # Errors
/// A directory or a file cannot be written.
pub fn write(prefix: &Path) -> Result<Vec<PathBuf>, Error> {
    let include = prefix.join("include");
    let mut written = Vec::new();
    let headers = pktmeta_headers::FILES.iter().map(|(path, text)| {
        // The kernel's own are not for everybody who includes from /usr/include.
        let path = match path.strip_prefix("uapi/") {
            Some(path) => include.join("pktmeta/uapi").join(path),
            None => include.join(path),
        };
        (path, *text)
    });
    let pkg_config = prefix.join("share/pkgconfig/pktmeta.pc");
    for (path, text) in headers.chain([(pkg_config, PKG_CONFIG)]) {
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(prefix))?;
            fs::write(&path, text)
        };
        write()
            .context(|| format!("write {}", path.shown()))
            .map_err(|error| error.with_remedy("name a directory that you may write to"))?;
        written.push(path);
    }
    Ok(written)
}
