//! How a field of the host is shown, in a table and in JSON.

use super::table::{Cell, number};
use pktmeta_core::FieldInfo;
use serde_json::{Value, json};

/// Cells for a field: name, owner, type, number, place.
pub(crate) fn known(field: &FieldInfo) -> [Cell; 5] {
    [
        field.name.to_string().into(),
        field.owner.to_string().into(),
        field.kind.to_string().into(),
        number(field.tlv),
        place(field),
    ]
}

pub(crate) fn place(field: &FieldInfo) -> Cell {
    field.place.map_or_else(|| "".into(), number)
}

pub(crate) fn field_json(field: &FieldInfo) -> Value {
    json!({
        "name": field.name.as_str(),
        "owner": field.owner.as_str(),
        "type": field.kind.to_string(),
        "number": field.tlv.get(),
    })
}
