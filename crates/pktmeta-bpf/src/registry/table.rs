//! The maps of the registry, pinned in bpffs: an array with a field's entry at its number. Entry 0,
//! which is no field's, begins with a hash of all fields and ends with the registry's id. Its
//! secret has a map of its own, because a process that reads the fields must not be able to forge
//! records. The names of values have one too, see names.rs.

use super::names;
use crate::{
    dir::Dir,
    error::{Context, Error, ErrorKind, Shown},
    secret::new_secret,
    stores,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use pktmeta_core::{FieldInfo, Registry, abi, pins, seal::Secret};
use std::{
    hash::{BuildHasher as _, RandomState},
    os::fd::AsFd,
};

/// The pin of the fields.
pub(crate) const PIN: &str = stores::REGISTRY.pin;

/// A registry without fields, which is on no host yet.
pub(crate) fn new() -> Result<Registry, Error> {
    Ok(Registry::new().with_id(new_id()).with_secret(new_secret()?))
}

/// The fields, their numbers, and the secret if this process may know it. Before anybody has
/// registered a field, the empty registry that would become the host's.
pub(crate) fn read(root: &Dir) -> Result<Registry, Error> {
    if !root.has(PIN)? {
        return new();
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

/// The state of the registry that is there.
pub(crate) fn state(root: &Dir) -> Result<Option<RegistryState>, Error> {
    if !root.has(PIN)? {
        return Ok(None);
    }
    let map = match open(root) {
        Ok(map) => map,
        // It went between the two.
        Err(_) if !root.has(PIN)? => return Ok(None),
        Err(error) => return Err(error),
    };
    let about = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY);
    let about = about.context(|| "read the registry".into())?;
    let names = names::map_id(root)?;
    Ok(about.and_then(|bytes| {
        Some(RegistryState {
            id: *bytes.last_chunk()?,
            fields: *bytes.first_chunk()?,
            names,
        })
    }))
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
    /// True if a number that both have means the same in both.
    #[must_use]
    pub fn is_same_registry(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Makes the maps if they are not there; true if they were not. The lock is held.
pub(crate) fn create(root: &Dir, registry: &Registry) -> Result<bool, Error> {
    if root.has(PIN)? {
        return Ok(false);
    }
    let tried = || format!("make the registry {}", root.path_of(PIN).shown());
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
    let map = array("pktmeta_secret", size_of_val(&secret), 1)?;
    map.update(&0u32.to_ne_bytes(), &secret.to_ne_bytes(), MapFlags::ANY)
        .context(tried)?;
    // That of a registry that was not made to its end.
    root.unlink(pins::SECRET)?;
    root.pin(map.as_fd(), pins::SECRET)?;
    let map = array("pktmeta_fields", FieldInfo::SIZE, abi::FIELDS_MAX)?;
    write_about(&map, &Registry::new().with_id(registry.id()))?;
    root.pin(map.as_fd(), PIN)?;
    Ok(true)
}

/// Removes the maps, the secret last. The lock is held.
pub(crate) fn forget(root: &Dir) -> Result<(), Error> {
    root.unlink(PIN)?;
    names::forget(root)?;
    root.unlink(pins::SECRET)
}

/// Writes what differs. The lock is held.
pub(crate) fn store(root: &Dir, before: &Registry, after: &Registry) -> Result<(), Error> {
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
    // The hash comes last: a reader who sees it can read the new fields.
    write_about(&map, after)
}

/// `None` if this process may not read it, or another version made the registry.
fn read_secret(root: &Dir) -> Result<Option<Secret>, Error> {
    if !root.has(pins::SECRET)? {
        return Ok(None);
    }
    let map = match root.open_map(pins::SECRET) {
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
    Err(Error::new(ErrorKind::Unusable, tried, why).with_remedy(
        "another version of pktmeta made it: remove it with that one (`pktmeta registry remove \
         --all`)",
    ))
}

/// Writes entry 0.
fn write_about(map: &MapHandle, registry: &Registry) -> Result<(), Error> {
    let mut about = [0; FieldInfo::SIZE];
    about[..8].copy_from_slice(&registry.hash().to_le_bytes());
    about[FieldInfo::SIZE - 4..].copy_from_slice(&registry.id().to_le_bytes());
    map.update(&0u32.to_ne_bytes(), &about, MapFlags::ANY)
        .context(|| "write the registry".into())
}

/// A random id, almost certainly unlike those of all registries before: objects that were bound on
/// disk outlive a registry, and a boot.
fn new_id() -> u32 {
    // The keys of a hasher are random.
    RandomState::new().hash_one(()) as u32 | 1
}
