//! Where hot fields stand, and how large a record can be.

use super::{FieldInfo, Registry};
use crate::{field::Kind, record::Record, seal};

/// What a program that makes records must know of the host's fields beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// A new record: a void at the place of each field that has one.
    pub template: Record,
    /// Bytes in front of a packet: of a record that has every field, rounded up, and of the seal.
    pub area: usize,
}

impl Layout {
    pub(super) fn new(registry: &Registry) -> Self {
        let mut template = Record::new();
        for field in places(registry) {
            // Places follow each other without gaps, and place_for() lets none end beyond the
            // record.
            let placed = template.append_void(field.tag(), field.kind.size());
            debug_assert_eq!(placed, Ok(()));
        }
        let placed = template.as_bytes().len();
        let others = registry
            .fields()
            .iter()
            .filter(|field| field.place.is_none());
        let others: usize = others.map(|field| field.kind.tlv_size()).sum();
        Self {
            template,
            area: seal::area(placed + others),
        }
    }
}

/// A place for a new hot field: behind all that were given away. `None` if values differ in size, or
/// if there is no room, or no number for so many.
pub(super) fn place_for(registry: &Registry, kind: Kind) -> Option<u8> {
    let end = places(registry)
        .last()
        .map_or(Record::HEADER, |last| end_of_place(&last));
    let fits = !kind.is_variable()
        && end + kind.tlv_size() <= seal::RECORD_MAX
        && places(registry).count() < Record::PLACES_MAX.into();
    fits.then_some(end as u8) // <= seal::RECORD_MAX
}

/// Takes places away that place_for() cannot have given: a template could not have them.
pub(super) fn drop_stray_places(registry: &mut Registry) {
    let mut kept = Registry::new();
    for field in places(registry) {
        if place_for(&kept, field.kind) == field.place {
            kept.retired.push(field);
        }
    }
    let fields = registry.fields.iter_mut().chain(&mut registry.retired);
    for field in fields.filter(|field| !kept.retired.contains(field)) {
        field.place = None;
    }
}

/// The fields that have places, retired ones too, in the order of their places.
fn places(registry: &Registry) -> impl Iterator<Item = FieldInfo> {
    let fields = registry.fields.iter().chain(&registry.retired);
    let mut placed: alloc::vec::Vec<_> = fields
        .filter(|field| field.place.is_some())
        .copied()
        .collect();
    placed.sort_by_key(|field| field.place);
    placed.into_iter()
}

fn end_of_place(field: &FieldInfo) -> usize {
    usize::from(field.place.unwrap_or(0)) + field.kind.tlv_size()
}
