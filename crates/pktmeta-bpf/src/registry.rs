//! The registry of the host: an array map pinned in bpffs, a field's entry at its number.

use crate::{
    bind::Binding,
    error::{Context, Error},
    hooks::xdp::labels,
    host,
    pins::{self, Pins},
};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, MapType,
    query::{ProgInfoIter, ProgInfoQueryOptions},
};
use pktmeta_core::{
    FieldInfo, FieldName, Record, Registry, TlvType, abi, registry::Wanted, schema::Schema,
};
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

/// The fields of this host, or of another bpffs in tests. Kernel 5.7, root.
///
/// Everything that changes it takes the lock of the bpffs, so that owners may do so at the same
/// time.
#[derive(Clone, Debug)]
pub struct HostRegistry {
    bpffs: PathBuf,
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
        Self {
            bpffs: bpffs.into(),
        }
    }

    /// Where it is pinned.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.bpffs.join("pktmeta-registry")
    }

    /// The fields and their numbers; none if nobody has registered any.
    ///
    /// # Errors
    /// The pin cannot be read.
    pub fn read(&self) -> Result<Registry, Error> {
        if !self.path().exists() {
            return Ok(Registry::new());
        }
        let map = pins::open_map(&self.path())?;
        let mut bytes = Vec::new();
        for tlv in 1..abi::FIELDS_MAX as u32 {
            let field = map.lookup(&tlv.to_ne_bytes(), MapFlags::ANY);
            bytes.extend(
                field
                    .context(|| "read the registry".into())?
                    .unwrap_or_default(),
            );
        }
        Ok(Registry::from_bytes(&bytes))
    }

    /// Registers the fields of `schemas`, to stay until they are removed; all of them or, on error,
    /// none. Those that are there with the same meaning keep their numbers.
    ///
    /// # Errors
    /// A name is taken for another meaning (both are shown), or the record would be too large for
    /// its area.
    pub fn register(&self, schemas: &[Schema]) -> Result<Vec<FieldInfo>, Error> {
        host::check_capabilities()?;
        host::mount_bpffs(&self.bpffs)?;
        let _lock = pins::lock(&self.bpffs)?;
        let before = self.read()?;
        let mut after = before.clone();
        let wanted = schemas.iter().flat_map(Schema::fields).map(|field| {
            let mut wanted = field.wanted;
            wanted.policy.kept = true;
            wanted
        });
        let fields = register(&mut after, wanted);
        let stored = fields.and_then(|fields| {
            self.create()?;
            self.store(&before, &after)?;
            Ok(fields)
        });
        if stored.is_err() {
            // Unless somebody uses it.
            let _ = host::unmount_own_bpffs(&self.bpffs);
        }
        stored
    }

    /// Removes fields, all or on error none. Their numbers stay theirs: sockets may still hold
    /// records with them. With the last field the registry goes too, unless a datapath is up.
    ///
    /// # Errors
    /// There is no such field, or something uses it.
    pub fn remove(&self, which: &Removal) -> Result<Vec<FieldInfo>, Error> {
        host::check_capabilities()?;
        let before = self.read()?;
        if before == Registry::new() && *which == Removal::All {
            return Ok(Vec::new());
        }
        let lock = match before == Registry::new() {
            true => None,
            false => Some(pins::lock(&self.bpffs)?),
        };
        let names = match which {
            Removal::All => before.fields().iter().map(|field| field.name).collect(),
            Removal::Fields(names) => self.known(&before, names)?,
        };
        let users = self.users()?;
        if let Some(user) = users.iter().find(|user| names.contains(&user.field)) {
            let tried = format!("remove field {}", user.field);
            return Err(Error::new(tried, format!("{user} uses it"))
                .remedy("detach or unload that first; `pktmeta registry list` shows all users"));
        }
        let mut after = before.clone();
        let removed = names.iter().filter_map(|name| after.remove(name.as_str()));
        let removed: Vec<_> = removed.collect();
        self.store(&before, &after)?;
        self.remove_if_unused(&after, &users)?;
        drop(lock);
        let unmounted = host::unmount_own_bpffs(&self.bpffs);
        unmounted.context(|| format!("unmount {}", self.bpffs.display()))?;
        Ok(removed)
    }

    /// Who uses which field: every loaded BPF program that is bound to it, whoever loaded it, and
    /// the labels of `pktmeta up`.
    ///
    /// # Errors
    /// The kernel does not let us look at its programs.
    pub fn users(&self) -> Result<Vec<User>, Error> {
        host::check_capabilities()?;
        let mut users = bound_programs()?;
        let registry = self.read()?;
        let pins = Pins::datapath(&self.bpffs);
        for id in pins.interface_ids() {
            let map = pins.interface(id).directory.join("xdp_labels");
            for tlv in labelled_fields(&map) {
                users.extend(registry.by_type(tlv).map(|field| User {
                    field: field.name,
                    what: format!("a label of `pktmeta up` on interface {}", id.ifindex),
                }));
            }
        }
        Ok(users)
    }

    /// Makes the map if it is not there; true if it was not.
    pub(crate) fn create(&self) -> Result<bool, Error> {
        if self.path().exists() {
            return Ok(false);
        }
        let tried = || format!("make the registry {}", self.path().display());
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
            ..Default::default()
        };
        let map = MapHandle::create(
            MapType::Array,
            Some("registry"),
            size_of::<u32>() as u32,
            FieldInfo::SIZE as u32,
            abi::FIELDS_MAX as u32,
            &options,
        );
        map.context(tried)?.pin(self.path()).context(tried)?;
        Ok(true)
    }

    /// Writes what differs. The lock is held.
    pub(crate) fn store(&self, before: &Registry, after: &Registry) -> Result<(), Error> {
        let map = pins::open_map(&self.path())?;
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
        Ok(())
    }

    /// Removes what no owner registered to stay. The lock is held, the datapath is gone.
    pub(crate) fn forget_unkept(&self) -> Result<(), Error> {
        if !self.path().exists() {
            return Ok(());
        }
        let before = self.read()?;
        let mut after = before.clone();
        for field in before.fields().iter().filter(|field| !field.policy.kept) {
            after.remove(field.name.as_str());
        }
        self.store(&before, &after)?;
        self.remove_if_unused(&after, &[])
    }

    /// A registry without fields goes, and with it the memory of which numbers had which meaning:
    /// only when nothing is left that could produce, hold or read a record with them.
    fn remove_if_unused(&self, registry: &Registry, users: &[User]) -> Result<(), Error> {
        let up = Pins::datapath(&self.bpffs).exists();
        if up || !registry.fields().is_empty() || !users.is_empty() {
            return Ok(());
        }
        fs::remove_file(self.path()).context(|| format!("remove {}", self.path().display()))
    }

    fn known(&self, registry: &Registry, names: &[String]) -> Result<Vec<FieldName>, Error> {
        let known = names.iter().map(|name| {
            registry
                .by_name(name)
                .map(|field| field.name)
                .ok_or_else(|| {
                    Error::new(format!("remove field {name:?}"), "no field has that name")
                        .remedy("`pktmeta registry list` shows those that there are")
                })
        });
        known.collect()
    }
}

/// Which fields to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Those with these names.
    Fields(Vec<String>),
    /// All.
    All,
}

/// What uses a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The field.
    pub field: FieldName,
    what: String,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
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
    if area <= Record::CAPACITY {
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
        "a record with all fields has {area} bytes, {} more than the area holds",
        area - Record::CAPACITY
    );
    Err(Error::new("reserve the area", why).remedy(format!(
        "take fields out; the largest are {}",
        largest.join(", ")
    )))
}

/// The loaded programs that are bound to fields. Their bindings lie in the frozen map that is their
/// `.rodata`, whichever loader made it.
fn bound_programs() -> Result<Vec<User>, Error> {
    let mut constants: BTreeMap<u32, Vec<FieldName>> = BTreeMap::new();
    let mut users = Vec::new();
    for program in
        ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default().include_map_ids(true))
    {
        for map in program.map_ids {
            let fields = constants.entry(map).or_insert_with(|| bound_fields(map));
            users.extend(fields.iter().map(|&field| User {
                field,
                what: format!(
                    "BPF program {} (id {})",
                    program.name.to_string_lossy(),
                    program.id
                ),
            }));
        }
    }
    Ok(users)
}

/// The fields to which the programs with these constants are bound; none if the map is something
/// else.
fn bound_fields(map: u32) -> Vec<FieldName> {
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
    let bindings = places.filter_map(Binding::from_bytes);
    bindings
        .filter(|binding| binding.tag != 0)
        .map(|binding| binding.name)
        .collect()
}

fn labelled_fields(map: &Path) -> Vec<TlvType> {
    let Ok(map) = pins::open_map(map) else {
        return Vec::new();
    };
    let values = map
        .keys()
        .filter_map(|key| map.lookup(&key, MapFlags::ANY).ok()?);
    let mut fields: Vec<_> = values.flat_map(|value| labels::fields(&value)).collect();
    fields.sort();
    fields.dedup();
    fields
}
