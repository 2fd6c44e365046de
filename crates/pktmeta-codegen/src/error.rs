//! Why nothing was generated.

use crate::language::Language;
use pktmeta_core::{
    FieldName,
    registry::{RegisterError, Wanted},
    schema::SchemaError,
};
use std::fmt;

/// Why nothing was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Two of the schemas have the same owner, so that their files would have the same name.
    OwnerTwice(FieldName),
    /// The fields cannot be on one host together.
    Registry(RegisterError),
    /// The schema of the built-in fields does not parse.
    Builtin(SchemaError),
    /// This version generates nothing for fields of that kind.
    Kind(Wanted),
    /// Two things would have the same name.
    Collision {
        /// The language.
        language: Language,
        /// The name.
        identifier: String,
        /// The thing that has the name.
        first: String,
        /// The thing that would have it too.
        second: String,
    },
    /// The registry whose numbers are wanted does not have a field.
    NotRegistered(Wanted),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::OwnerTwice(_) => "put the fields of the owner into one schema file",
            Self::Registry(error) => error.remedy(),
            Self::Builtin(error) => error.remedy(),
            Self::Kind(_) => "use a newer `pktmeta gen`, or another type",
            Self::Collision { .. } => "rename one of the two in its schema",
            Self::NotRegistered(_) => {
                "register the schema there first, or use numbers in the order of the schemas"
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerTwice(owner) => write!(
                f,
                "two of the schemas are of owner {owner}, whose files would have the same name"
            ),
            Self::Registry(_) => f.write_str("number the fields of the schemas"),
            Self::Builtin(_) => f.write_str("read the schema of the built-in fields"),
            Self::Kind(Wanted { name, kind, .. }) => write!(
                f,
                "generate code for {name}: this version does not know {kind}"
            ),
            Self::Collision {
                language,
                identifier,
                first,
                second,
            } => write!(
                f,
                "generate {}: {first} and {second} would both be called {identifier}",
                language.name()
            ),
            Self::NotRegistered(Wanted {
                name, owner, kind, ..
            }) => write!(
                f,
                "take the host's numbers: it has no field {name} of owner {owner} with type {kind}"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Registry(error) => Some(error),
            Self::Builtin(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        Self::Registry(error)
    }
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::Builtin(error)
    }
}
