//! What this host has of what the datapath needs, found by trying: vendors backport, so kernel
//! versions say little.

use crate::{
    datapath::builtin_fields,
    error::{Context, Error, Shown},
    hooks::{self, Hook},
    host,
    object::{Object, ObjectOptions},
    sys,
};
use libbpf_rs::btf::{
    Btf,
    types::{Func, Struct},
};
use pktmeta_core::Registry;
use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

/// One thing that the datapath needs or can use.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was looked for.
    pub name: String,
    /// Whether it is there.
    pub finding: Finding,
}

/// What a check found.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is there; some detail.
    Present(String),
    /// It is not.
    Missing {
        /// False if the datapath works without it, in a lesser way.
        needed: bool,
        /// What was tried and what came of it.
        why: String,
        /// What does not work without it.
        consequence: String,
        /// What to do.
        remedy: String,
    },
}

impl Check {
    /// True if the datapath cannot work.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.finding, Finding::Missing { needed: true, .. })
    }
}

/// Examines the host. Attaches each program for a moment, to the loopback interface of a network
/// namespace of its own and to a cgroup of its own; nothing of the host is touched, and nothing
/// stays.
#[must_use]
pub fn examine(bpffs: &Path) -> Vec<Check> {
    let mut checks = vec![
        needed(
            "capabilities",
            host::check_capabilities().map(|()| "sufficient".into()),
            ALL,
        ),
        needed(
            "kernel types (BTF)",
            host::check_btf().map(|()| "present".into()),
            ALL,
        ),
        bpffs_check(bpffs),
        needed(
            "cgroup v2",
            host::cgroup_root().map(|root| root.shown()),
            SOCKETS,
        ),
    ];
    if let Some(old) = old_kernel() {
        // The verifier says the same of each hook, at length and in other words.
        checks.insert(0, old);
        return checks;
    }
    let lab = Lab::new();
    for hook in hooks::INTERFACE.into_iter().chain(hooks::CGROUP) {
        let tried = match &lab {
            Ok(lab) => lab.try_hook(hook),
            Err(error) if is_forbidden(error) => load(hook).map(|_| NO_LAB.into()),
            Err(error) => Err(error.clone()),
        };
        checks.push(needed(&format!("hook {}", hook.name), tried, hook.purpose));
    }
    checks.push(dynptr_check());
    checks.push(ticket_check(
        "tickets in SO_RCVMARK",
        libc::SO_RCVMARK,
        "tickets travel in SO_RCVPRIORITY or SO_TIMESTAMPNS",
        "boot Linux 5.19 or later",
    ));
    checks.push(ticket_check(
        "tickets in SO_RCVPRIORITY",
        SO_RCVPRIORITY,
        "where the mark cannot be had, tickets take the place of the time of arrival (SO_TIMESTAMPNS)",
        "boot Linux 6.14 or later",
    ));
    checks
}

/// Says that the kernel is older than all that this version can use, if it is.
fn old_kernel() -> Option<Check> {
    let btf = Btf::from_vmlinux().ok()?; // that it is missing is said already
    let missing = missing_in(|name| {
        btf.type_by_name::<Func<'_>>(name).is_some()
            || btf.type_by_name::<Struct<'_>>(name).is_some()
    })?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Some(Check {
        name: "kernel".into(),
        finding: Finding::Missing {
            needed: true,
            why: format!("Linux {} has no {missing}", release.trim_end()),
            consequence: ALL.into(),
            remedy: "boot Linux 6.6 or later; 6.12 is the oldest that pktmeta is tested on".into(),
        },
    })
}

/// What a kernel lacks, given the functions and structures that it has: programs of cgroups read
/// packets with the one, and TC takes links with the other.
fn missing_in(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let needed = [
        ("bpf_cast_to_kern_ctx", "bpf_cast_to_kern_ctx (of 6.2)"),
        ("tcx_link", "TCX (of 6.6)"),
    ];
    let missing = needed.into_iter().find(|(name, _)| !has(name));
    missing.map(|(_, what)| what)
}

const ALL: &str = "nothing of pktmeta works";
const SOCKETS: &str = "no record reaches a socket";

/// Where the kernel refuses a program, and nothing else is known to be missing.
const OLD_KERNEL: &str = "boot Linux 6.12 or later; if this is one, report what `pktmeta up` says";

/// Linux's `SO_RCVPRIORITY`, not yet in libc.
const SO_RCVPRIORITY: i32 = 82;

fn needed(name: &str, tried: Result<String, Error>, consequence: &str) -> Check {
    let finding = match tried {
        Ok(detail) => Finding::Present(detail),
        Err(error) => Finding::Missing {
            needed: true,
            why: format!("{}: {}", error.tried(), error.why()),
            consequence: consequence.into(),
            remedy: error.remedy_text().unwrap_or(OLD_KERNEL).into(),
        },
    };
    Check {
        name: name.into(),
        finding,
    }
}

fn bpffs_check(bpffs: &Path) -> Check {
    let found = match (host::is_bpffs(bpffs), bpffs.is_dir()) {
        (true, _) => Ok(format!("mounted on {}", bpffs.shown())),
        (false, true) => Ok(format!("`pktmeta up` will mount it on {}", bpffs.shown())),
        (false, false) => {
            let tried = format!("find {}", bpffs.shown());
            Err(Error::new(tried, "no such directory")
                .remedy("name a directory with --bpffs, or mount sysfs on /sys"))
        }
    };
    needed("bpffs", found, "the datapath cannot outlive the command")
}

/// A place to attach to: a loopback interface and a cgroup that nobody else uses.
struct Lab {
    cgroup: PathBuf,
    cgroup_file: fs::File,
}

/// Why nothing can be attached for a moment, although `up` could attach it.
const NO_LAB: &str = "loads; whether it attaches was not tried, which takes a network namespace and a \
                      cgroup of doctor's own and so CAP_SYS_ADMIN";

impl Lab {
    /// Index of the loopback interface of every network namespace (`LOOPBACK_IFINDEX`).
    const LOOPBACK: i32 = 1;

    fn new() -> Result<Self, Error> {
        let cgroup = host::cgroup_root()?.join(format!("pktmeta-doctor-{}", std::process::id()));
        fs::create_dir(&cgroup).context(|| format!("create {}", cgroup.shown()))?;
        match host::open_cgroup(&cgroup) {
            Ok(cgroup_file) => Ok(Self {
                cgroup,
                cgroup_file,
            }),
            Err(error) => {
                let _ = fs::remove_dir(&cgroup);
                Err(error)
            }
        }
    }

    /// Loads and attaches a hook's programs; says what it took.
    fn try_hook(&self, hook: &'static Hook) -> Result<String, Error> {
        let object = load(hook)?;
        let mut instructions = 0;
        for program in hook.programs {
            let loaded = object.program(program.name)?;
            let stats = sys::ProgramStats::of(loaded).context(|| "ask for a program".into())?;
            instructions += stats.verified_instructions;
            let attach = |target, flags| {
                sys::link_create(loaded, target, program.attach_type, flags)
                    .map(drop)
                    .context(|| format!("attach {}", program.name))
            };
            if hooks::INTERFACE.iter().any(|other| other.name == hook.name) {
                let xdp = program.attach_type == libbpf_sys::BPF_XDP;
                // Loopback has no XDP of its own.
                let flags = if xdp {
                    libbpf_sys::XDP_FLAGS_SKB_MODE
                } else {
                    0
                };
                match in_new_network_namespace(|| attach(Self::LOOPBACK, flags)) {
                    Err(error) if is_forbidden(&error) => return Ok(NO_LAB.into()),
                    attached => attached?,
                }
            } else {
                attach(self.cgroup_file.as_raw_fd(), 0)?;
            }
        }
        Ok(format!(
            "loads ({instructions} instructions verified) and attaches"
        ))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// Loads a hook's programs.
fn load(hook: &Hook) -> Result<Object, Error> {
    // The verifier does not look at the code of fields that have no number, nor of labels.
    let registry = builtin_registry()?;
    let options = ObjectOptions {
        registry: Some(&registry),
        globals: vec![("labels_used", vec![1])],
        ..ObjectOptions::default()
    };
    Object::load(hook.name, hook.object, &options)
}

fn is_forbidden(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EPERM | libc::EACCES))
}

fn builtin_registry() -> Result<Registry, Error> {
    let mut registry = Registry::new();
    for field in builtin_fields()? {
        registry
            .register(&field.wanted)
            .context(|| "number the built-in fields".into())?;
    }
    Ok(registry)
}

/// Runs `body` on a thread in a network namespace that ends with it.
fn in_new_network_namespace<T: Send>(
    body: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: changes this new thread only.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = std::io::Error::last_os_error();
                return Err(Error::new("make a network namespace", error));
            }
            body()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn dynptr_check() -> Check {
    let name = "bpf_dynptr_from_skb_meta";
    let found = Btf::from_vmlinux().is_ok_and(|btf| btf.type_by_name::<Func<'_>>(name).is_some());
    let finding = if found {
        Finding::Present("TC writes through it".into())
    } else {
        Finding::Missing {
            needed: false,
            why: format!("the kernel has no {name}"),
            consequence: "while tcpdump runs, TC loses the records it should add to".into(),
            remedy: "boot Linux 6.18 or later".into(),
        }
    };
    Check {
        name: name.into(),
        finding,
    }
}

fn ticket_check(name: &str, option: i32, consequence: &str, remedy: &str) -> Check {
    let tried = std::net::UdpSocket::bind(("127.0.0.1", 0)).and_then(|socket| {
        let on = 1i32;
        // SAFETY: the option's value is an int, of the size that is passed.
        let result = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    });
    let finding = match tried {
        Ok(()) => Finding::Present("available".into()),
        Err(error) => Finding::Missing {
            needed: false,
            why: format!("setsockopt: {error}"),
            consequence: consequence.into(),
            remedy: remedy.into(),
        },
    };
    Check {
        name: name.into(),
        finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_by_what_it_lacks() {
        assert_eq!(missing_in(|_| true), None);
        let found = missing_in(|name| name != "tcx_link").unwrap();
        assert!(found.contains("6.6"), "{found}");
        let found = missing_in(|_| false).unwrap();
        assert!(found.contains("6.2"), "{found}");
        assert!(old_kernel().is_none(), "this one has all");
    }
}
