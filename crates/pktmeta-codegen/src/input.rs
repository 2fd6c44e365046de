//! Schemas that source text is made of.

use crate::{error::Error, kinds};
use pktmeta_core::{Registry, schema::Schema};
use std::collections::BTreeSet;

/// What to generate from.
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) schemas: Vec<Schema>,
    /// What pktmeta's own programs say, which packages have too: nobody has a file of it.
    pub(crate) builtin: Schema,
    pub(crate) registry: Registry,
    pub(crate) rust_crate: String,
}

impl Input {
    /// These schemas, their fields numbered in their order.
    ///
    /// # Errors
    /// Two schemas have one owner, or their fields cannot be on one host together.
    pub fn new(schemas: Vec<Schema>) -> Result<Self, Error> {
        let mut owners = BTreeSet::new();
        if let Some(twice) = schemas.iter().find(|schema| !owners.insert(schema.owner())) {
            return Err(Error::OwnerTwice(twice.owner()));
        }
        let mut fields = schemas.iter().flat_map(Schema::fields);
        if let Some(field) = fields.find(|field| kinds::row(field.wanted.kind).is_none()) {
            return Err(Error::Kind(field.wanted));
        }
        let registry = Schema::registry(&schemas)?;
        let builtin = Schema::parse("builtin.toml", pktmeta_core::builtin::SCHEMA)?;
        Ok(Self {
            schemas,
            builtin,
            registry,
            rust_crate: "pktmeta".into(),
        })
    }

    /// Takes the numbers of fields from a host. They stand only in the Wireshark dissector;
    /// everything else finds them by name when it runs.
    #[must_use]
    pub fn with_registry(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Names the crate that Rust modules use: `pktmeta`, which applications link, if nothing is
    /// said; `pktmeta_core` for what does without sockets.
    #[must_use]
    pub fn with_rust_crate(self, path: &str) -> Self {
        Self {
            rust_crate: path.into(),
            ..self
        }
    }
}
