//! The header library of pktmeta for BPF programs: `include/` as it stands in the repository.
//!
//! Build scripts compile with [`INCLUDE`]; `pktmeta headers DIR` installs [`FILES`] where there is
//! no checkout. The crate has no dependency and no build script, so that nothing has to be there
//! before the headers are.

use std::path::{Path, PathBuf};

/// The folder to give to a compiler of BPF programs with `-I`, where this crate was built.
pub const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");

/// The folder with the kernel's headers that the programs need; to be given after [`INCLUDE`].
/// Nothing of the building machine's own is used, which may be older or of another architecture.
pub const UAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/uapi");

/// The file by which pkg-config finds the headers, wherever the `prefix` is moved to.
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

/// Where the headers and [`PKG_CONFIG`] belong below a prefix such as `/usr`, in order, and their
/// texts.
pub fn installed(prefix: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let include = prefix.join("include");
    let pkg_config = prefix.join("share/pkgconfig/pktmeta.pc");
    let headers = FILES.iter().map(move |&(path, text)| {
        // The kernel's own are not for everybody who includes from /usr/include.
        let path = match path.strip_prefix("uapi/") {
            Some(path) => include.join("pktmeta/uapi").join(path),
            None => include.join(path),
        };
        (path, text)
    });
    headers.chain([(pkg_config, PKG_CONFIG)])
}

/// Lists files below `include/`, each with its text.
macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../include/", $path)))),*]
    };
}

/// Every header: its path below `include/`, and its text.
pub const FILES: &[(&str, &str)] = files![
    "pktmeta/abi.h",
    "pktmeta/binding.h",
    "pktmeta/hooks/received.bpf.h",
    "pktmeta/hooks/skb.bpf.h",
    "pktmeta/hooks/xdp.bpf.h",
    "pktmeta/pktmeta.bpf.h",
    "pktmeta/record.h",
    "pktmeta/seal.h",
    "pktmeta/sent.bpf.h",
    "pktmeta/socket.bpf.h",
    "pktmeta/traits.bpf.h",
    "uapi/asm/bitsperlong.h",
    "uapi/asm/byteorder.h",
    "uapi/asm/errno.h",
    "uapi/asm/ioctl.h",
    "uapi/asm/posix_types.h",
    "uapi/asm/socket.h",
    "uapi/asm/sockios.h",
    "uapi/asm/swab.h",
    "uapi/asm/types.h",
    "uapi/linux/bpf.h",
    "uapi/linux/bpf_common.h",
    "uapi/linux/types.h",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let mut folders = vec![PathBuf::from(INCLUDE)];
        let mut found = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        found.insert(path.strip_prefix(INCLUDE).unwrap().to_owned());
                    }
                }
            }
        }
        let listed = FILES.iter().map(|(path, _)| Path::new(path).to_owned());
        assert_eq!(listed.collect::<BTreeSet<_>>(), found);
    }
}
