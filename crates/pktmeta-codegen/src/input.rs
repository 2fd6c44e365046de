//! The schemas to generate from.

use crate::{error::Error, kinds};
use pktmeta_core::{Registry, schema::Schema};
use std::collections::BTreeSet;

/// The schemas to generate from, and the numbers of their fields.
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) schemas: Vec<Schema>,
    /// The fields of pktmeta's own programs. Packages have them too, because nobody has a schema
    /// file of them.
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

    /// Takes the numbers of fields from a host. Only the Wireshark dissector contains them; all
    /// other code finds them by name when it runs.
    #[must_use]
    pub fn with_registry(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Names the crate that Rust modules use: by default `pktmeta`, which applications link;
    /// `pktmeta_core` for code without sockets.
    #[must_use]
    pub fn with_rust_crate(self, path: &str) -> Self {
        Self {
            rust_crate: path.into(),
            ..self
        }
    }
}
