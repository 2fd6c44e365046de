//! The places of hot fields, and the size of the largest record.

use super::field::FieldInfo;
use crate::{field::Kind, record::Record, seal};
use alloc::vec::Vec;

/// The facts about all fields of the host that a program needs to make records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// A new record: a void at the place of each field that has one.
    pub template: Record,
    /// Bytes in front of a packet: a record that has every field, rounded up, and the seal.
    pub area: usize,
}

impl Layout {
    pub(super) fn new(fields: &[FieldInfo], retired: &[FieldInfo]) -> Self {
        let mut template = Record::new();
        for field in by_place(fields.iter().chain(retired)) {
            // Places follow each other without gaps, and place_for() lets none end beyond the
            // record.
            let placed = template.append_void(field.tag(), field.kind.size());
            debug_assert_eq!(placed, Ok(()));
        }
        let placed = template.as_bytes().len();
        let others = fields.iter().filter(|field| field.place.is_none());
        let others: usize = others.map(|field| field.kind.tlv_size()).sum();
        Self {
            template,
            area: seal::area(placed + others),
        }
    }
}

/// A place for a new hot field of `kind`, behind those of all `known` fields. `None` if values
/// differ in size, if there is no room, or if there are too many places to be counted.
pub(super) fn place_for<'f>(
    known: impl IntoIterator<Item = &'f FieldInfo>,
    kind: Kind,
) -> Option<u8> {
    let placed = by_place(known);
    let end = placed.last().map_or(Record::HEADER, end_of_place);
    let fits = !kind.is_variable()
        && end + kind.tlv_size() <= seal::RECORD_MAX
        && placed.len() < Record::PLACES_MAX.into();
    fits.then_some(end as u8) // <= seal::RECORD_MAX
}

/// Removes places that [`place_for`] cannot have given: a template could not have them.
pub(super) fn drop_stray_places(fields: &mut [FieldInfo], retired: &mut [FieldInfo]) {
    let mut kept: Vec<FieldInfo> = Vec::new();
    for field in by_place(fields.iter().chain(&*retired)) {
        if place_for(&kept, field.kind) == field.place {
            kept.push(field);
        }
    }
    for field in fields.iter_mut().chain(retired) {
        if !kept.contains(field) {
            field.place = None;
        }
    }
}

/// The fields that have places, in the order of their places.
fn by_place<'f>(fields: impl IntoIterator<Item = &'f FieldInfo>) -> Vec<FieldInfo> {
    let placed = fields.into_iter().filter(|field| field.place.is_some());
    let mut placed: Vec<_> = placed.copied().collect();
    placed.sort_by_key(|field| field.place);
    placed
}

fn end_of_place(field: &FieldInfo) -> usize {
    usize::from(field.place.unwrap_or(0)) + field.kind.tlv_size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Registry, Wanted};

    /// The places of fields of these types, registered one after the other, and their layout.
    fn places_of(kinds: &[&str]) -> (alloc::vec::Vec<Option<u8>>, Layout) {
        let mut registry = Registry::new();
        let places = kinds.iter().enumerate().map(|(at, kind)| {
            let name = alloc::format!("field_{at}").parse().unwrap();
            let owner = "edge".parse().unwrap();
            let mut wanted = Wanted::new(name, owner, kind.parse().unwrap());
            wanted.policy.hot = true;
            registry.register(&wanted).unwrap().place
        });
        let places = places.collect();
        (places, registry.layout())
    }

    #[test]
    fn a_new_record_has_a_void_at_each_place() {
        let (places, layout) = places_of(&["u8", "u32", "flag", "bytes[..9]", "u64", "u128"]);
        let starts = [4, 7, 12, 14, 23];
        let [u8_, u32_, flag, u64_, u128_] = starts.map(Some);
        assert_eq!(places, [u8_, u32_, flag, None, u64_, u128_]);
        let bytes = layout.template.as_bytes();
        assert_eq!(bytes[..4], [b'P', b'M', 0x15, 41]);
        let mut wanted = alloc::vec![0; 41 - 4];
        for (place, header) in [(4, [0, 1]), (7, [0x80, 0]), (14, [0xc0, 0]), (23, [0, 16])] {
            wanted[place - 4..][..2].copy_from_slice(&header);
        }
        assert_eq!(bytes[4..], wanted);
        // With 11 bytes of the one that has no place, and the seal.
        assert_eq!(layout.area, 56 + 8);
    }

    #[test]
    fn the_last_place_ends_where_the_room_of_the_largest_area_does() {
        let large = "bytes[64]";
        let (places, layout) = places_of(&[large, large, large, "u16", "u16"]);
        assert_eq!(places[4], Some(205));
        assert_eq!(layout.template.as_bytes().len(), seal::RECORD_MAX);
        assert_eq!(layout.area, seal::AREA_MAX);
        let (places, _) = places_of(&[large, large, large, "u16", "u32", "flag", "u16"]);
        assert_eq!(places[3..], [Some(202), None, Some(205), None]);
    }

    #[test]
    fn as_many_fields_have_places_as_a_record_can_count() {
        let (places, layout) = places_of(&["flag"; 17]);
        let most = usize::from(Record::PLACES_MAX);
        assert!(places[..most].iter().all(Option::is_some));
        assert!(places[most..].iter().all(Option::is_none));
        assert_eq!(layout.template.as_bytes()[2], 0x10 | Record::PLACES_MAX);
    }
}
