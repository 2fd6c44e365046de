//! Turns schemas into source text: for people to include, link, load into Wireshark, or read.
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

#![forbid(unsafe_code)]

mod error;
mod file;
mod input;
mod json_schema;
mod kinds;
mod lang;
mod language;
mod reference;
mod text;

pub use error::Error;
pub use file::{GeneratedFile, is_generated};
pub use input::Input;
pub use language::Language;

use lang::{c, go, lua, python, rust};

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
        Language::Wireshark => lua::generate(&input.schemas, &input.registry),
        Language::Reference => Ok(reference::generate(&input.schemas)),
        Language::JsonSchema => Ok(vec![json_schema::file()]),
    }
}
