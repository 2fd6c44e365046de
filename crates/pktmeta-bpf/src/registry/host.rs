//! The registry of the host: registering, binding and removing fields.

use super::{
    names::Names,
    registering::{Registered, register},
    removal::Removal,
    table::{self, PIN, RegistryState},
    users::{self, Use, User},
};
use crate::{
    bind::Image,
    bpffs::Bpffs,
    dir::Dir,
    error::{Error, ErrorKind},
    host,
    pins::Pins,
};
use pktmeta_core::{
    FieldInfo, Registry,
    schema::{Dictionary, Schema},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The fields of this host, or of another bpffs in tests. Kernel 5.7, root.
///
/// Everything that changes it takes the lock of the bpffs, so that owners may do so at the same
/// time.
#[derive(Clone, Debug)]
pub struct HostRegistry {
    bpffs: Bpffs,
}

impl Default for HostRegistry {
    fn default() -> Self {
        Self::new(Path::new(host::BPFFS))
    }
}

impl HostRegistry {
    /// The registry that is pinned in this bpffs.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self::of(Bpffs::new(bpffs))
    }

    pub(crate) fn of(bpffs: Bpffs) -> Self {
        Self { bpffs }
    }

    /// How long to wait for another command that changes something there; 30 seconds otherwise.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self::of(self.bpffs.waiting(wait))
    }

    /// The path of its pin.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.bpffs.path().join(PIN)
    }

    /// True if somebody has registered a field, and it did not go with the last one.
    ///
    /// # Errors
    /// This process may not look.
    pub fn exists(&self) -> Result<bool, Error> {
        match self.bpffs.open()? {
            Some(root) => root.has(PIN),
            None => Ok(false),
        }
    }

    /// The fields, their numbers, and the secret if this process may know it. Before anybody has
    /// registered a field, the empty registry that would become the host's.
    ///
    /// # Errors
    /// The pin cannot be read.
    pub fn read(&self) -> Result<Registry, Error> {
        match self.bpffs.open()? {
            Some(root) => table::read(&root),
            None => table::new(),
        }
    }

    /// As [`HostRegistry::read`], with the names that their owners' schemas give to values.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn dictionary(&self) -> Result<Dictionary, Error> {
        match self.bpffs.open()? {
            Some(root) => self.dictionary_in(&root),
            None => Ok(Dictionary::new(self.read()?, [])),
        }
    }

    pub(crate) fn dictionary_in(&self, root: &Dir) -> Result<Dictionary, Error> {
        let registry = table::read(root)?;
        let names = Names::read(root, registry.id())?;
        Ok(names.of(registry))
    }

    /// The state of the registry: a program that keeps fields and names compares it after each use
    /// of them. `None` if there is no registry.
    ///
    /// # Errors
    /// The pin cannot be read.
    pub fn state(&self) -> Result<Option<RegistryState>, Error> {
        let Some(root) = self.bpffs.open()? else {
            return Ok(None);
        };
        table::state(&root)
    }

    /// Registers the fields of `schemas`, to stay until they are removed; all of them or, on error,
    /// none. Those that are there with the same meaning keep their numbers.
    ///
    /// # Errors
    /// A name is taken for another meaning (both are shown), or the record would be too large for
    /// its area.
    pub fn register(&self, schemas: &[Schema]) -> Result<Vec<Registered>, Error> {
        let (registered, ()) = self.register_and(schemas, |_| Ok(()))?;
        Ok(registered)
    }

    /// Registers the fields of `schemas`, and gives every field that an object names its number. If
    /// that fails, nothing is registered.
    ///
    /// # Errors
    /// As of [`HostRegistry::register`] and [`Image::bind`]; and some fields of the object are not
    /// registered, unless `allow_unbound`.
    pub fn bind(
        &self,
        image: &mut Image,
        schemas: &[Schema],
        allow_unbound: bool,
    ) -> Result<Registry, Error> {
        // Who may not look would take it for empty.
        host::check_capabilities()?;
        let mut bind = |registry: &Registry| {
            image.bind(registry, &[])?;
            if !allow_unbound {
                image.check_bound(registry)?;
            }
            Ok(registry.clone())
        };
        if schemas.is_empty() {
            return bind(&self.read()?);
        }
        let (_, registry) = self.register_and(schemas, bind)?;
        Ok(registry)
    }

    fn register_and<T>(
        &self,
        schemas: &[Schema],
        and: impl FnOnce(&Registry) -> Result<T, Error>,
    ) -> Result<(Vec<Registered>, T), Error> {
        host::check_capabilities()?;
        let locked = self.bpffs.lock(self.bpffs.mounted()?)?;
        let root = locked.root();
        let before = table::read(root)?;
        let mut after = before.clone();
        let wanted = schemas.iter().flat_map(Schema::fields).map(|field| {
            let mut wanted = field.wanted;
            wanted.policy.kept = true;
            wanted
        });
        let fields = register(&mut after, wanted)?;
        let names_before = Names::read(root, before.id())?;
        let names = names_before.with(&after, schemas)?;
        let done = and(&after)?;
        table::create(root, &after)?;
        // First: a number is never shown by the name that an older schema gave it.
        names.write(root)?;
        if let Err(error) = table::store(root, &before, &after) {
            names_before.write(root)?;
            return Err(error);
        }
        let registered = fields.into_iter().map(|field| Registered {
            field,
            before: before.by_name(field.name.as_str()).copied(),
        });
        Ok((registered.collect(), done))
    }

    /// Removes fields, all or on error none. Their numbers stay theirs: sockets may still hold
    /// records with them. With the last field the registry goes too, unless a datapath is up or a
    /// loaded program is bound to one of its numbers.
    ///
    /// # Errors
    /// There is no such field, or something uses it.
    pub fn remove(&self, which: &Removal) -> Result<Vec<FieldInfo>, Error> {
        host::check_capabilities()?;
        let Some(root) = self.bpffs.open()? else {
            return which.fields_of(&Registry::new());
        };
        let locked = self.bpffs.lock(root)?;
        let root = locked.root();
        if !root.has(PIN)? {
            // Of a removal that was killed.
            table::forget(root)?;
            return which.fields_of(&Registry::new());
        }
        let before = table::read(root)?;
        let mut removed = which.fields_of(&before)?;
        let users = self.lasting_users(|user| {
            let number = |field: &FieldInfo| field.tlv == user.number;
            removed.iter().any(number)
        })?;
        if let Some(user) = users.first() {
            let names = removed.iter().filter(|field| field.tlv == user.number);
            let name = names.map(|field| field.name.to_string()).next();
            let tried = format!("remove field {}", name.unwrap_or_default());
            return Err(
                Error::new(ErrorKind::InUse, tried, format!("{} uses it", user.what)).with_remedy(
                    "detach or unload that first (`pktmeta down` for what `up` attached); \
                     `pktmeta registry list` shows all users",
                ),
            );
        }
        let mut after = before.clone();
        removed.retain(|field| after.remove(field.name.as_str()).is_some());
        table::store(root, &before, &after)?;
        Names::read(root, after.id())?
            .with(&after, [])?
            .write(root)?;
        self.remove_if_unused(root, &after)?;
        Ok(removed)
    }

    /// The users of each number: every loaded BPF program that is bound to it, whoever loaded it,
    /// and the labels of `pktmeta up`.
    ///
    /// # Errors
    /// The kernel does not let us look at its programs.
    pub fn users(&self) -> Result<Vec<User>, Error> {
        let Some(root) = self
            .bpffs
            .open()?
            .filter(|root| !matches!(root.has(PIN), Ok(false)))
        else {
            return Ok(Vec::new());
        };
        users::all(&root, &table::read(&root)?)
    }

    /// Loaded programs that another version bound, or that are bound to another registry: that of
    /// another bpffs, or one that is gone since the last boot. The kernel cannot tell which. None
    /// of them makes records that prove themselves here.
    ///
    /// # Errors
    /// The kernel does not let us look at its programs.
    pub fn strays(&self) -> Result<Vec<Use>, Error> {
        users::strays(self.read()?.id())
    }

    /// The users that matter, without programs that the kernel is still freeing: it does so some
    /// time after they were unloaded.
    fn lasting_users(&self, matters: impl Fn(&User) -> bool) -> Result<Vec<User>, Error> {
        let started = Instant::now();
        loop {
            let mut users = self.users()?;
            users.retain(&matters);
            if users.is_empty() || started.elapsed() > CLEARING {
                return Ok(users);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes the fields that no owner registered to stay. The lock is held, the datapath is gone.
    pub(crate) fn forget_unkept(&self, root: &Dir) -> Result<(), Error> {
        if !root.has(PIN)? {
            // One that was not made, or not removed, to its end.
            return table::forget(root);
        }
        let before = table::read(root)?;
        let mut after = before.clone();
        for field in before.fields().iter().filter(|field| !field.policy.kept) {
            after.remove(field.name.as_str());
        }
        table::store(root, &before, &after)?;
        Names::read(root, after.id())?
            .with(&after, [])?
            .write(root)?;
        self.remove_if_unused(root, &after)
    }

    /// Removes a registry without fields, and with it the meaning of retired numbers: only when
    /// nothing is left that could produce, hold or read a record with them.
    fn remove_if_unused(&self, root: &Dir, registry: &Registry) -> Result<(), Error> {
        let up = match Pins::of_datapath(root)? {
            Some(pins) => !pins.has_no_parts()?,
            None => false,
        };
        if up || !registry.fields().is_empty() {
            return Ok(());
        }
        match self.lasting_users(|_| true) {
            Ok(users) if users.is_empty() => table::forget(root),
            // Who may not look does not know.
            _ => Ok(()),
        }
    }
}

/// How long the kernel may take to free a program that nobody holds any more.
const CLEARING: Duration = Duration::from_secs(1);
