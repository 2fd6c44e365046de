//! The fields of the host before and after an `up`.

use super::{Datapath, UpOptions};
use crate::{
    error::{Context, Error},
    pins,
};
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_core::{
    FieldInfo, Record, Registry, abi, builtin,
    schema::{self, Schema, SchemaField},
};
use std::path::Path;

/// The fields before and after an `up`.
pub(super) struct Registration {
    before: Registry,
    pub(super) after: Registry,
    /// The fields that this interface's programs may use.
    pub(super) bound: Registry,
    pub(super) area: usize,
}

impl Registration {
    pub(super) fn new(datapath: &Datapath, options: &UpOptions) -> Result<Self, Error> {
        let before = datapath.registry()?;
        let mut after = before.clone();
        let builtin = builtin_fields(options.produce.as_deref())?;
        let schemas = options.schemas.iter().flat_map(Schema::fields);
        for field in builtin.iter().chain(schemas) {
            after.register(&field.wanted).map_err(|error| {
                let why = error.describe(&field.wanted);
                Error::new("register the schemas' fields", why).remedy(error.remedy())
            })?;
        }
        let area = schema::area(after.fields().iter().map(|field| field.kind));
        if area > Record::CAPACITY {
            let mut fields = after.fields().to_vec();
            fields.sort_by_key(|field| std::cmp::Reverse(field.kind.size()));
            let most: Vec<_> = fields
                .iter()
                .take(3)
                .map(|field| format!("{}: {} of {}", field.name, field.kind, field.owner))
                .collect();
            let why = format!(
                "a record with all fields has {area} bytes, {} more than the area holds",
                area - Record::CAPACITY
            );
            return Err(Error::new("reserve the area", why).remedy(format!(
                "take fields out; the largest are {}",
                most.join(", ")
            )));
        }
        let bound = Registry::from_bytes(
            &after
                .fields()
                .iter()
                .filter(|field| {
                    field.owner.as_str() != "pktmeta"
                        || builtin
                            .iter()
                            .any(|produced| produced.wanted.name == field.name)
                })
                .flat_map(FieldInfo::to_bytes)
                .collect::<Vec<_>>(),
        );
        Ok(Self {
            before,
            after,
            bound,
            area,
        })
    }

    /// Fields that are new on the host.
    fn added(&self) -> impl Iterator<Item = &FieldInfo> {
        self.after
            .fields()
            .iter()
            .filter(|field| self.before.by_type(field.tlv).is_none())
    }

    /// Makes the new fields known.
    pub(super) fn store(&self, path: &Path) -> Result<(), Error> {
        write(path, self.added())
    }
}

/// Reads the registry.
pub(super) fn read(path: &Path) -> Result<Registry, Error> {
    let map = pins::open_map(path)?;
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

/// Writes fields into the registry.
pub(super) fn write<'a>(
    path: &Path,
    fields: impl IntoIterator<Item = &'a FieldInfo>,
) -> Result<(), Error> {
    let map = pins::open_map(path)?;
    fields.into_iter().try_for_each(|field| {
        let key = u32::from(field.tlv.get()).to_ne_bytes();
        map.update(&key, &field.to_bytes(), MapFlags::ANY)
            .context(|| "write the registry".into())
    })
}

/// The built-in fields, or those of them that `produce` names.
pub(crate) fn builtin_fields(produce: Option<&[String]>) -> Result<Vec<SchemaField>, Error> {
    let schema = Schema::parse("builtin.toml", builtin::SCHEMA)
        .context(|| "read the built-in fields".into())?;
    let Some(produce) = produce else {
        return Ok(schema.fields().to_vec());
    };
    let known = |name: &String| {
        schema
            .fields()
            .iter()
            .any(|field| field.wanted.name.as_str() == name)
    };
    if let Some(unknown) = produce.iter().find(|name| !known(name)) {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.wanted.name.as_str().to_owned())
            .collect();
        return Err(Error::new(
            format!("produce {unknown:?}"),
            "that is not a built-in field",
        )
        .remedy(format!("name some of {}", names.join(","))));
    }
    let chosen = schema.fields().iter().filter(|field| {
        produce
            .iter()
            .any(|name| name == field.wanted.name.as_str())
    });
    Ok(chosen.cloned().collect())
}
