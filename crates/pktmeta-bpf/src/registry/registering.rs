//! Giving fields their numbers.

use crate::error::{Error, ErrorKind};
use pktmeta_core::{FieldInfo, Registry, registry::Wanted, seal};

/// A field that was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// The field now.
    pub field: FieldInfo,
    /// The field before, if it was there.
    pub before: Option<FieldInfo>,
}

/// Gives fields their numbers, and checks that a record with all fields of the host fits.
pub(crate) fn register(
    registry: &mut Registry,
    wanted: impl IntoIterator<Item = Wanted>,
) -> Result<Vec<FieldInfo>, Error> {
    let mut fields = Vec::new();
    for wanted in wanted {
        fields.push(registry.register(&wanted).map_err(|error| {
            let tried = "register the schemas' fields";
            Error::new(ErrorKind::Invalid, tried, error.to_string()).with_remedy(error.remedy())
        })?);
    }
    let area = registry.layout().area;
    if area <= seal::AREA_MAX {
        return Ok(fields);
    }
    let mut largest = registry.fields().to_vec();
    largest.sort_by_key(|field| std::cmp::Reverse(field.kind.size()));
    let largest: Vec<_> = largest
        .iter()
        .take(3)
        .map(|field| format!("{}: {} of {}", field.name, field.kind, field.owner))
        .collect();
    let why = format!(
        "the area of all fields has {area} bytes, {} more than fit in front of a packet",
        area - seal::AREA_MAX
    );
    Err(
        Error::new(ErrorKind::Invalid, "reserve the area", why).with_remedy(format!(
            "take fields out; the largest are {}",
            largest.join(", ")
        )),
    )
}
