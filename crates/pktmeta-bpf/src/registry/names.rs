//! The names of the values of the host's fields: an array map of one entry, pinned beside the
//! registry, with the registry's id and schemas in TOML. The map is never written again, but
//! replaced, so that a reader finds the names of one version. Numbers of another registry have no
//! names.

use crate::{
    dir::Dir,
    error::{Context, Error, ErrorKind, Shown},
};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapInfo, MapType};
use pktmeta_core::{
    Registry, pins,
    schema::{Dictionary, Schema},
};
use std::os::fd::AsFd;

/// The names that a registry's fields have for their values.
pub(crate) struct Names {
    registry: u32,
    text: String,
}

impl Names {
    /// The names of the registry with this id, if there are any.
    pub(crate) fn read(root: &Dir, registry: u32) -> Result<Self, Error> {
        let text = match root.has(pins::NAMES)? {
            true => read(root, registry)?,
            false => None,
        };
        Ok(Self {
            registry,
            text: text.unwrap_or_default(),
        })
    }

    /// A registry's fields with these names.
    pub(crate) fn of(&self, registry: Registry) -> Dictionary {
        Dictionary::with_names(registry, &self.text)
    }

    /// The names of the fields of `registry` after `schemas` were registered.
    pub(crate) fn with<'a>(
        &self,
        registry: &Registry,
        schemas: impl IntoIterator<Item = &'a Schema>,
    ) -> Result<Self, Error> {
        let text = self.of(registry.clone()).with(schemas).names();
        if text.len() > MAX {
            let why = format!(
                "all names of enumerations and bits have {} bytes, at most {MAX} are kept",
                text.len()
            );
            return Err(
                Error::new(ErrorKind::Invalid, "register the schemas' fields", why)
                    .with_remedy("take names out of the schemas, or shorten them"),
            );
        }
        Ok(Self {
            registry: registry.id(),
            text,
        })
    }

    /// Replaces the names that are there. The lock is held.
    pub(crate) fn write(&self, root: &Dir) -> Result<(), Error> {
        let there = Self::read(root, self.registry)?;
        if self.text == there.text {
            return Ok(());
        }
        if self.text.is_empty() {
            return forget(root);
        }
        let tried = || format!("write the names {}", root.path_of(pins::NAMES).shown());
        let mut value = self.registry.to_le_bytes().to_vec();
        value.extend(self.text.bytes());
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
            ..Default::default()
        };
        let (key, size) = (size_of::<u32>() as u32, value.len() as u32); // at most MAX and the id
        let map = MapHandle::create(MapType::Array, Some("names"), key, size, 1, &options);
        let map = map.context(tried)?;
        map.update(&0u32.to_ne_bytes(), &value, MapFlags::ANY)
            .context(tried)?;
        // One that a killed command left.
        root.unlink(NEXT)?;
        root.pin(map.as_fd(), NEXT)?;
        root.replace(NEXT, pins::NAMES)
    }
}

/// Most bytes of all names.
const MAX: usize = 1 << 20;

/// The pin of new names until they replace the old ones.
const NEXT: &str = "pktmeta-names-next";

/// The kernel's number for their map: names that were written anew have another.
pub(crate) fn map_id(root: &Dir) -> Result<Option<u32>, Error> {
    let Some(map) = root.open_pin(pins::NAMES)? else {
        return Ok(None);
    };
    let info = MapInfo::new(map.as_fd()).context(|| "look at the names".into())?;
    Ok(Some(info.info.id))
}

/// Removes them. The lock is held.
pub(crate) fn forget(root: &Dir) -> Result<(), Error> {
    root.unlink(NEXT)?;
    root.unlink(pins::NAMES)
}

/// Reads the names, if they are of this registry and in a form that is known.
fn read(root: &Dir, registry: u32) -> Result<Option<String>, Error> {
    let map = match root.open_map(pins::NAMES) {
        Ok(map) => map,
        // They went between the two.
        Err(_) if !root.has(pins::NAMES)? => return Ok(None),
        Err(error) => return Err(error),
    };
    if (map.map_type(), map.key_size()) != (MapType::Array, size_of::<u32>() as u32) {
        return Ok(None);
    }
    let value = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY);
    let value = value
        .context(|| "read the names".into())?
        .unwrap_or_default();
    let Some((id, text)) = value.split_first_chunk() else {
        return Ok(None);
    };
    let is_ours = u32::from_le_bytes(*id) == registry;
    Ok(String::from_utf8(text.into()).ok().filter(|_| is_ours))
}
