//! Loading an object: fields get their numbers, globals their values, maps their pins.

use crate::{
    bind::Image,
    dir::Dir,
    error::{Context, Error, ErrorKind},
    hook::{Attach, Hook, Program},
    settings::Settings,
    stores::Scope,
    sys,
};
use libbpf_rs::{MapCore, ObjectBuilder, ProgramType};
use pktmeta_core::Registry;
use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Mutex,
};

/// Settings of an object before it is loaded.
///
/// Exhaustive, so that callers name the options that matter and take the rest from
/// [`ObjectOptions::default`]: more may come.
#[derive(Debug, Default)]
pub struct ObjectOptions<'a> {
    /// The registry that gives the object's fields their numbers. Fields that are not in it stay
    /// unbound: the programs then neither read nor write them.
    pub registry: Option<&'a Registry>,
    /// Names of fields that stay unbound although they are registered.
    pub unbound: &'a [String],
    /// Values of `const volatile` globals.
    pub globals: Vec<(&'static str, Vec<u8>)>,
    /// Sizes of maps that differ from those in the source.
    pub max_entries: Vec<(&'static str, u32)>,
    /// Whether XDP programs take packets with fragments.
    pub frags: bool,
    /// The pins of maps. A map that is pinned already is used again.
    pub pins: Vec<(&'static str, PathBuf)>,
}

/// A loaded object.
#[derive(Debug)]
pub struct Object {
    object: libbpf_rs::Object,
}

impl Object {
    /// Loads the ELF object `elf`, called `name` in messages.
    ///
    /// # Errors
    /// The object is not one, the kernel refuses it (the message ends with what its verifier said
    /// last), or a field of it is registered with another size.
    pub fn load(name: &str, elf: &[u8], options: &ObjectOptions<'_>) -> Result<Self, Error> {
        let tried = || format!("load the BPF programs of {name}");
        LIBBPF_SAYS.with_lines(|| {
            let mut image = Image::parse(name, elf.into())?;
            if let Some(registry) = options.registry {
                image.bind(registry, options.unbound)?;
            }
            for (global, value) in &options.globals {
                image.set(global, value)?;
            }
            let mut object = ObjectBuilder::default()
                .open_memory(&image.into_bytes())
                .context(tried)?;
            for mut map in object.maps_mut() {
                let map_name = map.name().to_owned();
                let named = |name: &OsStr| name == map_name;
                let entries = options
                    .max_entries
                    .iter()
                    .find(|(name, _)| named(OsStr::new(name)));
                if let Some(&(_, entries)) = entries {
                    map.set_max_entries(entries).context(tried)?;
                }
                let pin = options
                    .pins
                    .iter()
                    .find(|(name, _)| named(OsStr::new(name)));
                if let Some((_, pin)) = pin {
                    map.set_pin_path(pin).context(tried)?;
                }
            }
            for mut program in object.progs_mut() {
                if options.frags && program.prog_type() == ProgramType::Xdp {
                    program.set_flags(libbpf_sys::BPF_F_XDP_HAS_FRAGS);
                }
            }
            let object = object.load().map_err(|error| {
                let why = match LIBBPF_SAYS.last_lines() {
                    lines if lines.is_empty() => format!("{error:#}"),
                    lines => format!("{error:#}\n{lines}"),
                };
                let refused = Error::of(tried(), error).because(why);
                // The verifier's own answer, whatever the process may do.
                match refused.errno() {
                    Some(libc::EACCES) => refused.without_remedy(),
                    _ => refused,
                }
            })?;
            Ok(Self { object })
        })
    }

    /// Loads a hook with the globals and sizes of `settings`. `pin` returns the path of a store's
    /// or counter's pin, by its name and scope; a map that is pinned there already is used again.
    pub(crate) fn load_hook(
        hook: &Hook,
        settings: &Settings,
        pin: impl Fn(&str, Scope) -> PathBuf,
        options: ObjectOptions<'_>,
    ) -> Result<Self, Error> {
        let stores = hook.stores.iter();
        let counters = hook.counters_map.into_iter();
        let sized = stores
            .clone()
            .filter_map(|it| Some((it.map, it.entries?(settings))));
        let options = ObjectOptions {
            globals: (hook
                .globals
                .iter()
                .map(|it| (it.name, (it.value)(settings))))
            .collect(),
            max_entries: sized.collect(),
            pins: stores
                .map(|it| (it.map, pin(it.pin, it.scope)))
                .chain(counters.map(|map| (map, pin(map, Scope::Part))))
                .collect(),
            ..options
        };
        Self::load(hook.name, hook.object, &options)
            .map_err(|error| error.or_remedy(ASK_THE_DOCTOR))
    }

    /// The program whose C function is `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn program(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        let found = self.object.progs().find(|program| program.name() == name);
        let program = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("program {name}"), "not found")
        })?;
        // SAFETY: the fd stays open as long as the object, which the result borrows.
        Ok(unsafe { BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(&program.as_fd())) })
    }

    /// A handle to the map `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn map(&self, name: &str) -> Result<libbpf_rs::MapHandle, Error> {
        let tried = || format!("map {name}");
        let map = self.object.maps().find(|map| map.name() == name);
        let map = map.ok_or_else(|| Error::new(ErrorKind::NotFound, tried(), "not found"))?;
        libbpf_rs::MapHandle::try_from(&map).context(tried)
    }

    /// The counters of the hook whose object this is, in the hook's order.
    ///
    /// # Errors
    /// It is not that hook's object, or the kernel refuses.
    pub fn counters(&self, hook: &Hook) -> Result<Vec<u64>, Error> {
        match hook.counters_map {
            Some(map) => hook.read_counters(&self.map(map)?),
            None => Ok(Vec::new()),
        }
    }

    /// Attaches a program to an interface index or a cgroup fd and pins the link.
    pub(crate) fn attach(
        &self,
        program: &Program,
        target: i32,
        flags: u32,
        pins: &Dir,
    ) -> Result<OwnedFd, Error> {
        let loaded = self.program(program.name)?;
        let link = sys::link_create(loaded, target, program.attach.kernel(), flags);
        let link = link.map_err(|error| {
            let refused = Error::of(format!("attach {}", program.name), error);
            let in_driver = program.attach == Attach::Xdp && flags == Attach::Xdp.flags(true);
            match refused.errno() {
                Some(errno) if in_driver && DRIVER_REFUSES.contains(&errno) => refused.with_remedy(
                    "the interface's driver refuses: add --mode generic to attach after it (its \
                     reason is in the kernel's log, if it has one; a large MTU is one)",
                ),
                _ => refused,
            }
        })?;
        pins.pin(link.as_fd(), program.name)?;
        Ok(link)
    }
}

/// The remedy where the kernel refuses a program for no reason that is known.
pub(crate) const ASK_THE_DOCTOR: &str =
    "`pktmeta doctor` says what this host lacks, and what to do";

/// The errors of drivers without XDP, or without it for this interface's MTU, queues or offloads.
const DRIVER_REFUSES: [i32; 4] = [libc::EOPNOTSUPP, libc::EINVAL, libc::ERANGE, libc::ENOMEM];

/// The lines that libbpf prints while it loads an object: only they have the verifier's reasons.
struct LibbpfSays {
    lines: Mutex<Vec<String>>,
    loading: Mutex<()>,
}

static LIBBPF_SAYS: LibbpfSays = LibbpfSays {
    lines: Mutex::new(Vec::new()),
    loading: Mutex::new(()),
};

impl LibbpfSays {
    const LINES: usize = 12;

    /// Runs `load` and collects the lines that libbpf prints meanwhile. Calls take turns, because
    /// libbpf has one callback for the whole process.
    fn with_lines<T>(&self, load: impl FnOnce() -> T) -> T {
        let guard = self
            .loading
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.lines().clear();
        let before = libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, line| {
            LIBBPF_SAYS.lines().extend(line.lines().map(str::to_owned));
        })));
        let result = load();
        libbpf_rs::set_print(before);
        drop(guard);
        result
    }

    fn last_lines(&self) -> String {
        let lines = self.lines();
        let said = lines.iter().filter(|line| {
            // Frames and remarks that say nothing new.
            !line.contains("-- BEGIN PROG LOAD LOG --")
                && !line.contains("-- END PROG LOAD LOG --")
                && !line.contains("ulimit")
        });
        let mut last: Vec<_> = said.rev().take(Self::LINES).map(String::as_str).collect();
        last.reverse();
        last.join("\n")
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
