//! Network namespaces.

use super::directory::names;
use crate::error::{Context, Error};
use rustix::thread::LinkNameSpaceType;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// What `look` finds in each network namespace that some process is in or that has a name, by the
/// namespace's number. Namespaces that cannot be entered are left out.
pub(crate) fn in_network_namespaces<T: Send>(
    look: impl Fn() -> Option<T> + Sync,
) -> BTreeMap<u64, T> {
    let processes = names("/proc").filter(|name| name.as_bytes().iter().all(u8::is_ascii_digit));
    let of_processes = processes.map(|pid| Path::new("/proc").join(pid).join("ns/net"));
    let named = names("/run/netns").map(|name| Path::new("/run/netns").join(name));
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for path in of_processes.chain(named) {
        let Ok(number) = fs::metadata(&path).map(|file| file.ino()) else {
            continue;
        };
        if !seen.insert(number) {
            continue;
        }
        let Ok(namespace) = fs::File::open(&path) else {
            continue;
        };
        // On a thread of its own, which ends there.
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                network,
            )
            .ok()?;
            look()
        };
        let it = std::thread::scope(|scope| scope.spawn(enter).join().ok().flatten());
        found.extend(it.map(|it| (number, it)));
    }
    found
}

/// Inode of this thread's network namespace: its number.
pub(crate) fn network_namespace() -> Result<u64, Error> {
    let path = "/proc/thread-self/ns/net";
    fs::metadata(path)
        .map(|file| file.ino())
        .context(|| format!("read {path}"))
}
