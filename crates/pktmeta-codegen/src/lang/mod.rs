//! Languages: a folder for each, with its generator and the text that does not depend on schemas.

pub(crate) mod c;
pub(crate) mod go;
mod identifiers;
pub(crate) mod lua;
pub(crate) mod python;
pub(crate) mod rust;
