//! Attaching hooks for a moment, to an interface and a cgroup that nobody else uses.

use crate::{
    datapath::{Senders, UpOptions, builtin_fields},
    error::{Context, Error, ErrorKind, Shown},
    hook::{Hook, Target},
    host,
    object::{Object, ObjectOptions},
    settings::Settings,
    sys,
};
use pktmeta_core::Registry;
use std::{fs, os::fd::AsRawFd, path::PathBuf};

/// A place to attach to: a loopback interface and a cgroup that nobody else uses.
pub(super) struct Lab {
    cgroup: PathBuf,
    cgroup_file: fs::File,
}

/// Why nothing can be attached for a moment, although `up` could attach it.
pub(super) const NO_LAB: &str = "loads; whether it attaches was not tried, which takes a network \
                      namespace and a cgroup of doctor's own and so CAP_SYS_ADMIN";

impl Lab {
    /// Index of the loopback interface of every network namespace (`LOOPBACK_IFINDEX`).
    const LOOPBACK: i32 = 1;

    pub(super) fn new() -> Result<Self, Error> {
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

    /// Loads and attaches a hook's programs, and reports their cost.
    pub(super) fn try_hook(&self, hook: &'static Hook) -> Result<String, Error> {
        let object = load(hook)?;
        let mut instructions = 0;
        for program in hook.programs {
            let loaded = object.program(program.name)?;
            let stats = sys::ProgramStats::of(loaded).context(|| "ask for a program".into())?;
            instructions += stats.verified_instructions;
            let attach = |target, flags| {
                sys::link_create(loaded, target, program.attach.kernel(), flags)
                    .map(drop)
                    .context(|| format!("attach {}", program.name))
            };
            if hook.target == Target::Interface {
                // Loopback has no XDP of its own.
                let flags = program.attach.flags(false);
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
pub(super) fn load(hook: &Hook) -> Result<Object, Error> {
    // The verifier does not look at the code of fields that have no number, nor of labels.
    let registry = builtin_registry()?;
    let settings = Settings {
        labels: Some(1),
        raw_ip: false,
        slots: *UpOptions::SLOTS_RANGE.start(),
        cpu_slots: 1,
        senders: Senders::All,
    };
    let stores = hook.stores.iter();
    let sized = stores.filter_map(|it| Some((it.map, it.entries?(&settings))));
    let options = ObjectOptions {
        registry: Some(&registry),
        globals: (hook
            .globals
            .iter()
            .map(|it| (it.name, (it.value)(&settings))))
        .collect(),
        max_entries: sized.collect(),
        ..ObjectOptions::default()
    };
    Object::load(hook.name, hook.object, &options)
}

pub(super) fn is_forbidden(error: &Error) -> bool {
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
                return Err(Error::new(
                    ErrorKind::Refused,
                    "make a network namespace",
                    error,
                ));
            }
            body()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
