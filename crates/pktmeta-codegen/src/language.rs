//! The languages that schemas are translated to.

/// A language or format that schemas are translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Its name for `pktmeta gen`.
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
