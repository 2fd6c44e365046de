//! The fields of the host before and after an `up`.

use super::{Datapath, UpOptions};
use crate::{
    error::{Context, Error},
    hooks::{Hook, tc},
    registry,
};
use pktmeta_core::{
    Registry, builtin,
    schema::{Schema, SchemaField},
};

/// The fields before and after an `up`.
pub(super) struct Registration {
    pub(super) before: Registry,
    pub(super) after: Registry,
    /// Names of the fields that this interface's programs must leave alone.
    pub(super) unproduced: Vec<String>,
}

impl Registration {
    pub(super) fn new(datapath: &Datapath, options: &UpOptions) -> Result<Self, Error> {
        let before = datapath.registry().read()?;
        let mut after = before.clone();
        let produced = builtin_fields(options.produce.as_deref())?;
        let schemas = options.schemas.iter().flat_map(Schema::fields);
        let wanted = produced.iter().chain(schemas).map(|field| field.wanted);
        registry::register(&mut after, wanted)?;
        let unproduced = builtin_fields(None)?
            .iter()
            .filter(|field| !produced.contains(field))
            .map(|field| field.wanted.name.to_string())
            .collect();
        Ok(Self {
            before,
            after,
            unproduced,
        })
    }

    /// True if the hook has something to do.
    pub(super) fn needs(&self, hook: &Hook) -> bool {
        let produced = |field: &&str| !self.unproduced.iter().any(|name| name == field);
        hook.name != tc::HOOK.name || tc::FIELDS.iter().any(produced)
    }
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
