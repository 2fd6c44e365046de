//! The registry of the host: an array map pinned in bpffs, a field's entry at its number. Entry 0,
//! which is no field's, begins with a hash of all fields and ends with the registry's id. Its secret
//! has a map of its own: whoever may read the fields need not be able to forge records. So have the
//! names of values, see names.rs.

use crate::{
    bind::{Binding, Image},
    bpffs::Bpffs,
    dir::Dir,
    error::{Context, Error, Shown},
    hooks::xdp::labels,
    host,
    names::{self, Names},
    pins::Pins,
    sys,
};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, MapType,
    query::{ProgInfoIter, ProgInfoQueryOptions},
};
use pktmeta_core::{
    FieldInfo, Registry, TlvType, abi,
    registry::Wanted,
    schema::{Dictionary, Schema, nearest},
    seal::{self, Secret},
};
use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    io,
    os::fd::AsFd,
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

    /// Where it is pinned.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.bpffs.path().join(PIN)
    }

    /// Where libbpf finds it.
    pub(crate) fn path_by_fd(&self, root: &Dir) -> PathBuf {
        root.path_by_fd(PIN)
    }

    /// True if somebody has registered a field, and it did not go with the last one.
    ///
    /// # Errors
    /// One cannot look.
    pub fn exists(&self) -> Result<bool, Error> {
        match self.bpffs.open()? {
            Some(root) => root.has(PIN),
            None => Ok(false),
        }
    }

    /// The fields, their numbers, and the secret for who may know it. None if nobody has registered
    /// any: what becomes the registry when somebody does.
    ///
    /// # Errors
    /// The pin cannot be read.
    pub fn read(&self) -> Result<Registry, Error> {
        match self.bpffs.open()? {
            Some(root) => self.read_in(&root),
            None => Ok(Registry::new().with_id(new_id()).with_secret(new_secret()?)),
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
        let registry = self.read_in(root)?;
        let names = Names::read(root, registry.id())?;
        Ok(names.of(registry))
    }

    fn read_in(&self, root: &Dir) -> Result<Registry, Error> {
        if !root.has(PIN)? {
            return Ok(Registry::new().with_id(new_id()).with_secret(new_secret()?));
        }
        let map = open(root)?;
        let entry = |number: u32| {
            let entry = map.lookup(&number.to_ne_bytes(), MapFlags::ANY);
            let entry = entry.context(|| "read the registry".into())?;
            Ok::<_, Error>(entry.unwrap_or_default())
        };
        let mut bytes = Vec::new();
        for number in 1..abi::FIELDS_MAX as u32 {
            bytes.extend(entry(number)?);
        }
        let id = entry(0)?.last_chunk().copied().unwrap_or_default();
        let registry = Registry::from_bytes(&bytes).with_id(u32::from_le_bytes(id));
        Ok(match read_secret(root)? {
            Some(secret) => registry.with_secret(secret),
            None => registry,
        })
    }

    /// Which registry it is, and whether its fields and names are those that they were: what who
    /// keeps them compares after each use of them. `None` if there is none.
    ///
    /// # Errors
    /// The pin cannot be read.
    pub fn state(&self) -> Result<Option<RegistryState>, Error> {
        let Some(root) = self.bpffs.open()? else {
            return Ok(None);
        };
        if !root.has(PIN)? {
            return Ok(None);
        }
        let map = match open(&root) {
            Ok(map) => map,
            // It went between the two.
            Err(_) if !root.has(PIN)? => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY);
        let about = about.context(|| "read the registry".into())?;
        let names = names::map_id(&root)?;
        Ok(about.and_then(|bytes| {
            Some(RegistryState {
                id: *bytes.last_chunk()?,
                fields: *bytes.first_chunk()?,
                names,
            })
        }))
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
        let before = self.read_in(root)?;
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
        self.create(root, &after)?;
        // First: a number is never shown by the name that an older schema gave it.
        names.write(root)?;
        if let Err(error) = self.store(root, &before, &after) {
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
            self.forget(root)?;
            return which.fields_of(&Registry::new());
        }
        let before = self.read_in(root)?;
        let mut removed = which.fields_of(&before)?;
        let users = self.lasting_users(|user| {
            let number = |field: &FieldInfo| field.tlv == user.number;
            removed.iter().any(number)
        })?;
        if let Some(user) = users.first() {
            let names = removed.iter().filter(|field| field.tlv == user.number);
            let name = names.map(|field| field.name.to_string()).next();
            let tried = format!("remove field {}", name.unwrap_or_default());
            return Err(Error::new(tried, format!("{} uses it", user.what)).remedy(
                "detach or unload that first (`pktmeta down` for what `up` attached); \
                     `pktmeta registry list` shows all users",
            ));
        }
        let mut after = before.clone();
        removed.retain(|field| after.remove(field.name.as_str()).is_some());
        self.store(root, &before, &after)?;
        Names::read(root, after.id())?
            .with(&after, [])?
            .write(root)?;
        self.remove_if_unused(root, &after)?;
        Ok(removed)
    }

    /// Who uses which number: every loaded BPF program that is bound to it, whoever loaded it, and
    /// the labels of `pktmeta up`.
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
        let registry = self.read_in(&root)?.id();
        let mut users = bound_programs()?;
        users.retain(|user| user.registry == Some(registry));
        let mut users: Vec<_> = users.into_iter().map(|bound| bound.user).collect();
        if let Some(pins) = Pins::of_datapath(&root)? {
            for id in pins.interface_ids()? {
                let Some(own) = pins.interface(id)? else {
                    continue;
                };
                users.extend(labelled_fields(&own)?.into_iter().map(|number| User {
                    number,
                    what: Use::Label {
                        ifindex: id.ifindex,
                    },
                }));
            }
        }
        users.sort_by(|a, b| (a.number, &a.what).cmp(&(b.number, &b.what)));
        Ok(users)
    }

    /// Loaded programs that are bound to another registry: one of another bpffs or, if the program
    /// was bound before the last boot, one that is gone. The kernel cannot tell which. Or by another
    /// version. Neither makes records that prove themselves here.
    ///
    /// # Errors
    /// The kernel does not let us look at its programs.
    pub fn strays(&self) -> Result<Vec<Use>, Error> {
        let registry = self.read()?.id();
        let mut strays = bound_programs()?;
        strays.retain(|bound| bound.registry != Some(registry));
        let mut strays: Vec<_> = strays.into_iter().map(|bound| bound.user.what).collect();
        strays.sort();
        strays.dedup();
        Ok(strays)
    }

    /// The users that matter, if they are more than the kernel has not cleared away yet: it frees
    /// programs some time after they were unloaded.
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

    /// Makes the maps if they are not there; true if they were not. The lock is held.
    pub(crate) fn create(&self, root: &Dir, registry: &Registry) -> Result<bool, Error> {
        if root.has(PIN)? {
            return Ok(false);
        }
        let tried = || format!("make the registry {}", self.path().shown());
        let array = |name, value: usize, entries: usize| {
            let options = libbpf_sys::bpf_map_create_opts {
                sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
                ..Default::default()
            };
            MapHandle::create(
                MapType::Array,
                Some(name),
                size_of::<u32>() as u32,
                value as u32,
                entries as u32,
                &options,
            )
            .context(tried)
        };
        // First: a registry is never there without its secret. The kernel pins for root alone.
        let secret = registry.secret().map_or(0, Secret::bits);
        let map = array("secret", size_of_val(&secret), 1)?;
        map.update(&0u32.to_ne_bytes(), &secret.to_ne_bytes(), MapFlags::ANY)
            .context(tried)?;
        // That of a registry that was not made to its end.
        root.unlink(SECRET)?;
        root.pin(map.as_fd(), SECRET)?;
        let map = array("registry", FieldInfo::SIZE, abi::FIELDS_MAX)?;
        write_about(&map, &Registry::new().with_id(registry.id()))?;
        root.pin(map.as_fd(), PIN)?;
        Ok(true)
    }

    /// Removes the maps, the secret last. The lock is held.
    pub(crate) fn forget(&self, root: &Dir) -> Result<(), Error> {
        root.unlink(PIN)?;
        names::forget(root)?;
        root.unlink(SECRET)
    }

    /// Writes what differs. The lock is held.
    pub(crate) fn store(
        &self,
        root: &Dir,
        before: &Registry,
        after: &Registry,
    ) -> Result<(), Error> {
        let map = open(root)?;
        let entry = |registry: &Registry, number: u8| {
            let mut fields = registry.fields().iter().chain(registry.retired());
            fields
                .find(|field| field.tlv.get() == number)
                .map_or([0; FieldInfo::SIZE], FieldInfo::to_bytes)
        };
        for number in 1..abi::FIELDS_MAX as u8 {
            let bytes = entry(after, number);
            if bytes != entry(before, number) {
                map.update(&u32::from(number).to_ne_bytes(), &bytes, MapFlags::ANY)
                    .context(|| "write the registry".into())?;
            }
        }
        // Last: who sees the new hash can read the new fields.
        write_about(&map, after)
    }

    /// Removes what no owner registered to stay. The lock is held, the datapath is gone.
    pub(crate) fn forget_unkept(&self, root: &Dir) -> Result<(), Error> {
        if !root.has(PIN)? {
            // One that was not made, or not removed, to its end.
            return self.forget(root);
        }
        let before = self.read_in(root)?;
        let mut after = before.clone();
        for field in before.fields().iter().filter(|field| !field.policy.kept) {
            after.remove(field.name.as_str());
        }
        self.store(root, &before, &after)?;
        Names::read(root, after.id())?
            .with(&after, [])?
            .write(root)?;
        self.remove_if_unused(root, &after)
    }

    /// A registry without fields goes, and with it the memory of which numbers had which meaning:
    /// only when nothing is left that could produce, hold or read a record with them.
    fn remove_if_unused(&self, root: &Dir, registry: &Registry) -> Result<(), Error> {
        let up = match Pins::of_datapath(root)? {
            Some(pins) => !pins.has_no_parts()?,
            None => false,
        };
        if up || !registry.fields().is_empty() {
            return Ok(());
        }
        match self.lasting_users(|_| true) {
            Ok(users) if users.is_empty() => self.forget(root),
            // Who may not look does not know.
            _ => Ok(()),
        }
    }
}

/// Its pin.
const PIN: &str = "pktmeta-registry";
/// The pin of its secret.
const SECRET: &str = "pktmeta-secret";

/// None for who may not read it, and of a registry that another version made.
fn read_secret(root: &Dir) -> Result<Option<Secret>, Error> {
    if !root.has(SECRET)? {
        return Ok(None);
    }
    let map = match root.open_map(SECRET) {
        Err(error) if matches!(error.errno(), Some(libc::EACCES | libc::EPERM)) => return Ok(None),
        map => map?,
    };
    let bits = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY);
    let bits = bits.context(|| "read the registry's secret".into())?;
    let secret = |bits: Vec<u8>| Secret::new(u64::from_ne_bytes(bits.try_into().ok()?));
    Ok(bits.and_then(secret))
}

/// Opens the map of a registry that is there, if it has the form that this command knows.
fn open(root: &Dir) -> Result<MapHandle, Error> {
    let map = root.open_map(PIN)?;
    let form = (
        map.map_type(),
        map.key_size(),
        map.value_size(),
        map.max_entries(),
    );
    let known = (
        MapType::Array,
        4,
        FieldInfo::SIZE as u32,
        abi::FIELDS_MAX as u32,
    );
    if form == known {
        return Ok(map);
    }
    let tried = format!("read the registry {}", root.path_of(PIN).shown());
    let why = "it has another form than this command knows";
    Err(Error::new(tried, why).remedy(
        "another version of pktmeta made it: remove it with that one (`pktmeta registry remove --all`)",
    ))
}

/// How long the kernel may take to free a program that nobody holds any more.
const CLEARING: Duration = Duration::from_secs(1);

/// A field that was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it is now.
    pub field: FieldInfo,
    /// What it was, if it was there.
    pub before: Option<FieldInfo>,
}

/// Which fields to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Those with these names.
    Fields(Vec<String>),
    /// All.
    All,
}

impl Removal {
    fn fields_of(&self, registry: &Registry) -> Result<Vec<FieldInfo>, Error> {
        let Self::Fields(names) = self else {
            return Ok(registry.fields().to_vec());
        };
        let known: Vec<_> = registry
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let field = |name: &String| {
            registry.by_name(name).copied().ok_or_else(|| {
                let remedy = match nearest(name, &known) {
                    Some(nearest) => format!("{nearest} is the nearest"),
                    None if known.is_empty() => "no field is registered on this host".into(),
                    None => format!("registered are {}", known.join(", ")),
                };
                Error::new(format!("remove field {name:?}"), "no field has that name")
                    .remedy(remedy)
            })
        };
        names.iter().map(field).collect()
    }
}

/// What uses a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The field's number. It may be a retired one.
    pub number: TlvType,
    /// Who it is.
    pub what: Use,
}

/// See [`User`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A loaded BPF program that is bound to it.
    Program {
        /// Name, which the kernel may have cut.
        name: String,
        /// The kernel's number for the program.
        id: u32,
    },
    /// A label of `pktmeta up` sets it.
    Label {
        /// Index of the interface.
        ifindex: u32,
    },
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, id } => write!(f, "BPF program {name} (id {id})"),
            Self::Label { ifindex } => {
                write!(f, "a label of `pktmeta up` on interface {ifindex}")
            }
        }
    }
}

/// Gives fields their numbers, and sees to it that a record with all fields of the host fits.
pub(crate) fn register(
    registry: &mut Registry,
    wanted: impl IntoIterator<Item = Wanted>,
) -> Result<Vec<FieldInfo>, Error> {
    let mut fields = Vec::new();
    for wanted in wanted {
        fields.push(registry.register(&wanted).map_err(|error| {
            Error::new("register the schemas' fields", error.describe(&wanted))
                .remedy(error.remedy())
        })?);
    }
    let area = registry.layout().area;
    if area <= seal::AREA_MAX {
        return Ok(fields);
    }
    let mut largest = registry.fields().to_vec();
    largest.sort_by_key(|field| std::cmp::Reverse(field.kind.size()));
    let largest: Vec<_> = largest
        .iter()
        .take(3)
        .map(|field| format!("{}: {} of {}", field.name, field.kind, field.owner))
        .collect();
    let why = format!(
        "the area of all fields has {area} bytes, {} more than fit in front of a packet",
        area - seal::AREA_MAX
    );
    Err(Error::new("reserve the area", why).remedy(format!(
        "take fields out; the largest are {}",
        largest.join(", ")
    )))
}

/// Writes entry 0.
fn write_about(map: &MapHandle, registry: &Registry) -> Result<(), Error> {
    let mut about = [0; FieldInfo::SIZE];
    about[..8].copy_from_slice(&registry.hash().to_le_bytes());
    about[FieldInfo::SIZE - 4..].copy_from_slice(&registry.id().to_le_bytes());
    map.update(&0u32.to_ne_bytes(), &about, MapFlags::ANY)
        .context(|| "write the registry".into())
}

/// A use of a number of some registry; `None` if another version bound it.
struct Bound {
    registry: Option<u32>,
    user: User,
}

/// The loaded programs that are bound. Their bindings lie in the frozen map that is their `.rodata`,
/// whichever loader made it.
fn bound_programs() -> Result<Vec<Bound>, Error> {
    host::check_capabilities()?;
    // No program has number 0, and who may not ask is told so first.
    if let Err(error) = sys::program_by_id(0)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(Error::new("look for programs that use fields", error)
            .remedy("run it as root, or give it CAP_SYS_ADMIN"));
    }
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let mut constants: BTreeMap<u32, Vec<Binding>> = BTreeMap::new();
    let mut users = Vec::new();
    for program in ProgInfoIter::with_query_opts(options) {
        for map in program.map_ids {
            let bindings = constants.entry(map).or_insert_with(|| bindings(map));
            users.extend(bindings.iter().filter_map(|binding| {
                let what = Use::Program {
                    name: program.name.to_string_lossy().into_owned(),
                    id: program.id,
                };
                Some(Bound {
                    registry: binding.is_current().then_some(binding.registry),
                    user: User {
                        number: binding.number()?,
                        what,
                    },
                })
            }));
        }
    }
    Ok(users)
}

/// The registry's fields that loaded programs are bound to.
pub(crate) fn fields_of(programs: &[u32], registry: &Registry) -> Result<Vec<FieldInfo>, Error> {
    let mut bound = bound_programs()?;
    bound.retain(|bound| {
        let Use::Program { id, .. } = bound.user.what else {
            return false;
        };
        bound.registry == Some(registry.id()) && programs.contains(&id)
    });
    let fields = registry.fields().iter();
    let is_bound = |field: &&FieldInfo| bound.iter().any(|bound| bound.user.number == field.tlv);
    Ok(fields.filter(is_bound).copied().collect())
}

/// What programs with these constants name; nothing if the map is something else.
fn bindings(map: u32) -> Vec<Binding> {
    let Ok(map) = MapHandle::from_map_id(map) else {
        return Vec::new(); // it is gone by now
    };
    let constant = map.map_type() == MapType::Array && map.max_entries() == 1;
    if !constant || !map.name().to_string_lossy().ends_with(".rodata") {
        return Vec::new();
    }
    let Ok(Some(bytes)) = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY) else {
        return Vec::new();
    };
    let places = bytes.windows(Binding::SIZE).step_by(align_of::<u32>());
    places.filter_map(Binding::from_bytes).collect()
}

/// A registry at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryState {
    id: [u8; 4],
    /// A hash of its fields.
    fields: [u8; 8],
    /// The kernel's number for the map of its names.
    names: Option<u32>,
}

impl RegistryState {
    /// True if numbers mean in one what they mean in the other, if it has them.
    #[must_use]
    pub fn is_same_registry(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Different from those of all registries that ever were, as good as certainly: objects that were
/// bound on disk outlive a registry, and a boot.
fn new_id() -> u32 {
    // The keys of a hasher are random.
    RandomState::new().hash_one(()) as u32 | 1
}

/// A secret that nobody had.
pub(crate) fn new_secret() -> Result<Secret, Error> {
    loop {
        let random = sys::random().context(|| "draw a secret".into())?;
        if let Some(secret) = Secret::new(random) {
            return Ok(secret);
        }
    }
}

fn labelled_fields(pins: &Dir) -> Result<Vec<TlvType>, Error> {
    let [labels, _] = labels::MAPS;
    let map = pins.open_map(labels)?;
    let values = map
        .keys()
        .filter_map(|key| map.lookup(&key, MapFlags::ANY).ok()?);
    let mut fields: Vec<_> = values.flat_map(|value| labels::fields(&value)).collect();
    fields.sort();
    fields.dedup();
    Ok(fields)
}
