//! Finds, by trying, whether this host has everything that the datapath needs. Kernel versions say
//! little, because vendors backport.

mod check;
mod kernel;
mod lab;
mod reach;

pub use check::{Check, Finding};

use crate::{
    datapath::Datapath,
    error::{Error, ErrorKind, Shown},
    hook::Target,
    hooks, host,
};
use check::ALL;
use kernel::{dynptr_check, old_kernel, ticket_check};
use lab::{Lab, NO_LAB, is_forbidden, load};
use pktmeta_core::linux::{SO_RCVMARK, SO_RCVPRIORITY};
use std::path::Path;

/// Examines the host. Attaches each program for a moment, to the loopback interface of a network
/// namespace of its own and to a cgroup of its own; nothing of the host is touched, and nothing
/// stays.
#[must_use]
pub fn examine(bpffs: &Path) -> Vec<Check> {
    let mut checks = vec![
        Check::needed(
            "capabilities",
            host::check_capabilities().map(|()| "sufficient".into()),
            ALL,
        ),
        Check::needed(
            "kernel types (BTF)",
            host::check_btf().map(|()| "present".into()),
            ALL,
        ),
        bpffs_check(bpffs),
        Check::needed(
            "cgroup v2",
            host::cgroup_root().map(|root| root.shown()),
            SOCKETS,
        ),
    ];
    if let Some(old) = old_kernel() {
        // The verifier refuses each hook for the same reason, in longer words.
        checks.insert(0, old);
        return checks;
    }
    let lab = Lab::new();
    for hook in hooks::of(Target::Interface).chain(hooks::of(Target::Cgroup)) {
        let tried = match &lab {
            Ok(lab) => lab.try_hook(hook),
            Err(error) if is_forbidden(error) => load(hook).map(|_| NO_LAB.into()),
            Err(error) => Err(error.clone()),
        };
        checks.push(Check::needed(
            &format!("hook {}", hook.name),
            tried,
            hook.purpose,
        ));
    }
    checks.push(dynptr_check());
    checks.push(ticket_check(
        "tickets in SO_RCVMARK",
        SO_RCVMARK,
        "tickets travel in SO_RCVPRIORITY or SO_TIMESTAMPNS",
        "boot Linux 5.19 or later",
    ));
    checks.push(ticket_check(
        "tickets in SO_RCVPRIORITY",
        SO_RCVPRIORITY,
        "where the mark cannot be had, tickets take the place of the time of arrival \
         (SO_TIMESTAMPNS)",
        "boot Linux 6.14 or later",
    ));
    // A status that cannot be read is left out: `pktmeta status` reports that error.
    let datapath = Datapath::new(bpffs);
    let status = datapath.status().ok();
    checks.extend(reach::checks(&datapath, status.as_ref()));
    checks
}

const SOCKETS: &str = "no record reaches a socket";

fn bpffs_check(bpffs: &Path) -> Check {
    let found = match (host::is_bpffs(bpffs), bpffs.is_dir()) {
        (true, _) => Ok(format!("mounted on {}", bpffs.shown())),
        (false, true) => Ok(format!("`pktmeta up` will mount it on {}", bpffs.shown())),
        (false, false) => {
            let tried = format!("find {}", bpffs.shown());
            Err(Error::new(ErrorKind::NotFound, tried, "no such directory")
                .with_remedy("name a directory with --bpffs, or mount sysfs on /sys"))
        }
    };
    Check::needed("bpffs", found, "the datapath cannot outlive the command")
}
