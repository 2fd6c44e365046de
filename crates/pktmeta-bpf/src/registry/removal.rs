//! The fields that a removal removes.

use crate::error::{Error, ErrorKind};
use pktmeta_core::{FieldInfo, Registry, schema::nearest};

/// The fields to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// Those with these names.
    Fields(Vec<String>),
    /// All.
    All,
}

impl Removal {
    pub(crate) fn fields_of(&self, registry: &Registry) -> Result<Vec<FieldInfo>, Error> {
        let Self::Fields(names) = self else {
            return Ok(registry.fields().to_vec());
        };
        let known: Vec<_> = registry
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let field = |name: &String| {
            registry.by_name(name).copied().ok_or_else(|| {
                let remedy = match nearest(name, &known) {
                    Some(nearest) => format!("{nearest} is the nearest"),
                    None if known.is_empty() => "no field is registered on this host".into(),
                    None => format!("registered are {}", known.join(", ")),
                };
                Error::new(
                    ErrorKind::NotFound,
                    format!("remove field {name:?}"),
                    "no field has that name",
                )
                .with_remedy(remedy)
            })
        };
        names.iter().map(field).collect()
    }
}
