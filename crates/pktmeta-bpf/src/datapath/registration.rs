//! The fields of the host before and after an `up`.

use super::options::UpOptions;
use crate::{
    dir::Dir,
    error::{Context, Error},
    hook::Hook,
    registry::{HostRegistry, names::Names, register},
};
use pktmeta_core::{
    Registry, builtin,
    schema::{Dictionary, Schema, SchemaField},
};

/// The fields before and after an `up`.
pub(super) struct Registration {
    pub(super) before: Registry,
    pub(super) after: Registry,
    pub(super) names_before: Names,
    pub(super) names_after: Names,
    /// Names of the fields that this interface's programs must leave alone.
    pub(super) unproduced: Vec<String>,
}

impl Registration {
    pub(super) fn new(host: &HostRegistry, root: &Dir, options: &UpOptions) -> Result<Self, Error> {
        let before = host.read()?;
        let mut after = before.clone();
        let (produced, unproduced): (Vec<_>, Vec<_>) = builtin_fields()?
            .into_iter()
            .partition(|field| options.produces(field.wanted.name.as_str()));
        let schemas = options.schemas.iter().flat_map(Schema::fields);
        let wanted = produced.iter().chain(schemas).map(|field| field.wanted);
        register(&mut after, wanted)?;
        let name = |field: &SchemaField| field.wanted.name.to_string();
        let names_before = Names::read(root, before.id())?;
        Ok(Self {
            names_after: names_before.with(&after, &options.schemas)?,
            names_before,
            before,
            after,
            unproduced: unproduced.iter().map(name).collect(),
        })
    }

    /// The fields afterwards, with the names of their values.
    pub(super) fn dictionary(&self) -> Dictionary {
        self.names_after.of(self.after.clone())
    }

    /// True if the hook has something to do.
    pub(super) fn needs(&self, hook: &Hook) -> bool {
        let produced = |field: &&str| !self.unproduced.iter().any(|name| name == field);
        !hook.only_to_produce || hook.produces.iter().any(produced)
    }
}

/// The built-in fields.
pub(crate) fn builtin_fields() -> Result<Vec<SchemaField>, Error> {
    let schema = Schema::parse("builtin.toml", builtin::SCHEMA)
        .context(|| "read the built-in fields".into())?;
    Ok(schema.fields().to_vec())
}
