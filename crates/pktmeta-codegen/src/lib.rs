//! Schemas as source text: what people include, link, load into Wireshark and read.
//!
//! Pure functions, no I/O: the command `pktmeta gen` and build scripts write the files. The same
//! input gives the same bytes, so that generated files can be checked in.
//!
//! ```
//! use pktmeta_codegen::{Input, Language, generate};
//! use pktmeta_core::schema::Schema;
//!
//! let schema = Schema::parse("edge.toml", r#"
//!     owner = "edge"
//!     [[field]]
//!     name = "tenant"
//!     type = "u32"
//! "#)?;
//! let input = Input::new(vec![schema])?;
//! let files = generate(Language::Rust, &input)?;
//! assert_eq!(files[0].name, "edge.rs");
//! assert!(files[0].text.contains("pub const TENANT: pktmeta::Field<u32>"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod c;
mod error;
mod go;
mod identifiers;
mod json_schema;
mod python;
mod reference;
mod rust;
mod text;
mod wireshark;

pub use error::Error;

use pktmeta_core::{Registry, schema::Schema};
use std::collections::BTreeSet;

/// What to make of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// For each owner `OWNER.pktmeta.h`, for BPF programs and applications.
    C,
    /// For each owner a module without `std`, `OWNER.rs`.
    Rust,
    /// A package: `__init__.py`, which is the same for all schemas and has the built-in fields, and
    /// for each owner `OWNER.py`.
    Python,
    /// A package: `pktmeta.go`, which is the same for all schemas and has the built-in fields, and
    /// for each owner `OWNER_fields.go`.
    Go,
    /// One dissector for all fields, `pktmeta.lua`.
    Wireshark,
    /// For each owner a page for people, `OWNER.md`.
    Reference,
    /// `pktmeta-schema.json`: the JSON Schema of schema files, for editors. It does not depend on
    /// the input.
    JsonSchema,
}

impl Language {
    /// What `pktmeta gen` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Go => "go",
            Self::Wireshark => "wireshark",
            Self::Reference => "reference",
            Self::JsonSchema => "json-schema",
        }
    }
}

/// What to generate from.
#[derive(Clone, Debug)]
pub struct Input {
    schemas: Vec<Schema>,
    /// What pktmeta's own programs say, which packages have too: nobody has a file of it.
    builtin: Schema,
    registry: Registry,
    rust_crate: String,
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
        let registry = Schema::registry(&schemas).map_err(Error::Registry)?;
        let builtin = Schema::parse("builtin.toml", pktmeta_core::builtin::SCHEMA)
            .map_err(|error| Error::Registry(error.to_string()))?;
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

/// A file that somebody may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its text. The first line says that it is generated: see [`is_generated`].
    pub text: String,
}

/// The files of a language.
///
/// # Errors
/// Two names of the schemas become one in that language, or the registry that was given does not
/// have the schemas' fields.
pub fn generate(language: Language, input: &Input) -> Result<Vec<GeneratedFile>, Error> {
    match language {
        Language::C => c::generate(&input.schemas),
        Language::Rust => rust::generate(&input.schemas, &input.rust_crate),
        Language::Python => python::generate(&input.schemas, &input.builtin),
        Language::Go => go::generate(&input.schemas, &input.builtin),
        Language::Wireshark => wireshark::generate(&input.schemas, &input.registry),
        Language::Reference => Ok(reference::generate(&input.schemas)),
        Language::JsonSchema => Ok(vec![json_schema::file()]),
    }
}

/// True if the first line of a file says that this crate made it, so that it may be overwritten.
#[must_use]
pub fn is_generated(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.contains(text::MARK)
}
