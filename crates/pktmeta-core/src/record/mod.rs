//! The record: the TLV bytes that carry one packet's fields. `docs/abi.md` draws them.

mod tag;

pub use tag::{Tag, TlvType};

use crate::field::FieldType;
use core::fmt;

/// One packet's fields, copied out of their carrier.
///
/// ```
/// use pktmeta_core::{Kind, Record, TlvType};
/// let tenant = Kind::Unsigned { size: 4 }.tag(TlvType::new(6).ok_or("no such type")?);
/// let mut record = Record::new();
/// record.set(tenant, &7u32.to_le_bytes())?;
/// let same = Record::parse(record.as_bytes())?;
/// assert_eq!(same.get(tenant), Some(&[7, 0, 0, 0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Record {
    /// Zero from the record's length on.
    bytes: [u8; Record::CAPACITY],
}

impl Record {
    /// Most bytes of a record: the metadata area of a driver with 256 bytes of headroom, of which
    /// 40 are `struct xdp_frame`'s.
    pub const CAPACITY: usize = 216;

    /// Bytes before the first TLV: magic (2), version and flags (1), length (1).
    pub const HEADER: usize = 4;

    /// The first three bytes: "PM", version 1 in the high half, no places in the low half.
    pub const MAGIC: [u8; 3] = [b'P', b'M', 1 << 4];

    /// Offset of the byte whose low half counts the places for hot fields that the record begins
    /// with. A program compares it with its own layout. 0 means that fields stand anywhere.
    const PLACES_AT: usize = 2;

    /// The highest count that fits there.
    pub(crate) const PLACES_MAX: u8 = 15;

    const LENGTH_AT: usize = 3;

    /// A record without fields.
    #[must_use]
    pub const fn new() -> Self {
        let mut bytes = [0; Self::CAPACITY];
        bytes[0] = Self::MAGIC[0];
        bytes[1] = Self::MAGIC[1];
        bytes[2] = Self::MAGIC[2];
        bytes[Self::LENGTH_AT] = Self::HEADER as u8;
        Self { bytes }
    }

    /// Reads the record at the start of `carrier`, which may be longer.
    ///
    /// # Errors
    /// The bytes are not a record of this version, or not a whole one. None of them may be used.
    #[inline]
    pub fn parse(carrier: &[u8]) -> Result<Self, ParseError> {
        let length = Self::check(carrier)?;
        let mut bytes = [0; Self::CAPACITY];
        bytes[..length].copy_from_slice(&carrier[..length]);
        Ok(Self { bytes })
    }

    /// Lets `store` fill the buffer, then validates the record at its start: [`Record::parse`]
    /// without the copy.
    ///
    /// # Errors
    /// Those of [`Record::parse`]. This record has no fields then.
    #[inline]
    pub fn parse_in_place(
        &mut self,
        store: impl FnOnce(&mut [u8; Self::CAPACITY]),
    ) -> Result<(), ParseError> {
        store(&mut self.bytes);
        match Self::check(&self.bytes) {
            Ok(length) => {
                self.bytes[length..].fill(0);
                Ok(())
            }
            Err(error) => {
                *self = Self::new();
                Err(error)
            }
        }
    }

    /// The length of the record at the start of a carrier's bytes.
    #[inline]
    fn check(carrier: &[u8]) -> Result<usize, ParseError> {
        let [magic0, magic1, version, length, ..] = *carrier else {
            return Err(ParseError::NotARecord);
        };
        if [magic0, magic1] != Self::MAGIC[..2] {
            return Err(ParseError::NotARecord);
        }
        // Places are for programs with the same layout; they change nothing for a reader.
        if version >> 4 != Self::MAGIC[2] >> 4 {
            return Err(ParseError::Version(version >> 4));
        }
        let length = usize::from(length);
        let whole = (Self::HEADER..=Self::CAPACITY).contains(&length);
        let source = carrier
            .get(..length)
            .filter(|_| whole)
            .ok_or(ParseError::Length)?;
        let mut at = Self::HEADER;
        while at < length {
            at = Tlv::read(source, at).ok_or(ParseError::Tlv { at })?.end;
        }
        Ok(length)
    }

    /// The record as a carrier holds it.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// True if no field is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The bytes of the field with this tag.
    #[must_use]
    #[inline]
    pub fn get(&self, tag: Tag) -> Option<&[u8]> {
        self.find(tag).map(|tlv| self.value(tlv))
    }

    /// Sets a field: overwrites its value if one of that size is there, else
    /// [deletes](Self::delete) it and adds the new one at the end.
    ///
    /// # Errors
    /// The record would grow past [`Record::CAPACITY`], or no field with this tag has a value of
    /// this size. The record is unchanged.
    pub fn set(&mut self, tag: Tag, value: &[u8]) -> Result<(), SetError> {
        let header = tag.header(value.len()).ok_or(SetError::Size)?;
        let old = self.find(tag);
        if let Some(old) = old.filter(|old| old.value_size() == value.len()) {
            self.bytes[old.value..old.end].copy_from_slice(value);
            return Ok(());
        }
        // The last field makes room itself.
        let end = match old {
            Some(old) if old.end == self.len() => old.at,
            _ => self.len(),
        };
        let size = header.as_bytes().len() + value.len();
        if end + size > Self::CAPACITY {
            return Err(SetError::NoRoom { needed: end + size });
        }
        self.delete(tag);
        let at = self.len();
        let start = at + header.as_bytes().len();
        let end = at + size;
        self.bytes[at..start].copy_from_slice(header.as_bytes());
        self.bytes[start..end].copy_from_slice(value);
        self.bytes[Self::LENGTH_AT] = end as u8; // <= CAPACITY
        Ok(())
    }

    /// Sets the field numbered `tlv` to a typed value.
    ///
    /// # Errors
    /// As [`Record::set`].
    pub fn set_value<T: FieldType>(&mut self, tlv: TlvType, value: &T) -> Result<(), SetError> {
        value.encode(|bytes| self.set(T::KIND.tag(tlv), bytes))
    }

    /// Deletes a field; true if it was there. It leaves a void, unless it was the last.
    pub fn delete(&mut self, tag: Tag) -> bool {
        let mut found = false;
        // All of them: if the field is there twice, the second would come back.
        while let Some(tlv) = self.find(tag) {
            self.delete_at(tlv);
            found = true;
        }
        found
    }

    /// Closes the voids that deleted fields left; the others keep their order.
    pub fn compact(&mut self) {
        // The copy starts without places.
        let mut compact = Self::new();
        let mut end = Self::HEADER;
        for tlv in self.tlvs().filter(|tlv| !self.is_void(tlv)) {
            let bytes = &self.bytes[tlv.at..tlv.end];
            compact.bytes[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        }
        compact.bytes[Self::LENGTH_AT] = end as u8; // no more than before
        *self = compact;
    }

    /// Sets every field of `other`, in its order.
    ///
    /// # Errors
    /// A field has no room; those before it are set.
    pub fn merge(&mut self, other: &Self) -> Result<(), SetError> {
        let mut fields = other.iter();
        // If a field is there twice, the first counts.
        fields.try_for_each(|(tag, value)| self.set(tag, other.get(tag).unwrap_or(value)))
    }

    /// The fields in the order in which they stand, voids left out.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        self.tlvs()
            .filter_map(|tlv| Some((Tag::from_byte(self.bytes[tlv.at])?, self.value(tlv))))
    }

    /// Keeps a place at the end for a field with this tag, whose values have this size, and counts
    /// it.
    pub(crate) fn append_void(&mut self, tag: Tag, size: u8) -> Result<(), SetError> {
        let void = tag.header(size.into()).ok_or(SetError::Size)?.void();
        let start = self.len();
        let value = start + void.as_bytes().len();
        let end = value + usize::from(size);
        let place = self.bytes.get_mut(start..end);
        let place = place.ok_or(SetError::NoRoom { needed: end })?;
        place[..value - start].copy_from_slice(void.as_bytes());
        self.bytes[Self::LENGTH_AT] = end as u8; // <= CAPACITY
        if self.bytes[Self::PLACES_AT] & Self::PLACES_MAX < Self::PLACES_MAX {
            self.bytes[Self::PLACES_AT] += 1;
        }
        Ok(())
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes[Self::LENGTH_AT].into()
    }

    fn delete_at(&mut self, tlv: Tlv) {
        let kept = if tlv.end == self.len() {
            self.bytes[Self::LENGTH_AT] = tlv.at as u8; // < CAPACITY
            // The record may end before its places now, and new fields need not start where they
            // did.
            self.bytes[Self::PLACES_AT] = Self::MAGIC[Self::PLACES_AT];
            tlv.at
        } else {
            self.bytes[tlv.at] &= !TlvType::MAX;
            tlv.value
        };
        self.bytes[kept..tlv.end].fill(0);
    }

    #[inline]
    fn find(&self, tag: Tag) -> Option<Tlv> {
        self.tlvs().find(|tlv| self.bytes[tlv.at] == tag.byte())
    }

    /// Every TLV, voids included.
    #[inline]
    fn tlvs(&self) -> impl Iterator<Item = Tlv> {
        core::iter::successors(self.tlv(Self::HEADER), |tlv| self.tlv(tlv.end))
    }

    #[inline]
    fn tlv(&self, at: usize) -> Option<Tlv> {
        Tlv::read(self.as_bytes(), at)
    }

    /// The value of a TLV that one of the walks found.
    #[inline]
    fn value(&self, tlv: Tlv) -> &[u8] {
        &self.bytes[tlv.value..tlv.end]
    }

    fn is_void(&self, tlv: &Tlv) -> bool {
        Tag::from_byte(self.bytes[tlv.at]).is_none()
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Where a TLV lies in its record.
#[derive(Clone, Copy)]
struct Tlv {
    at: usize,
    value: usize,
    end: usize,
}

impl Tlv {
    /// The TLV at `at`, if one starts there and lies within the record.
    #[inline]
    fn read(record: &[u8], at: usize) -> Option<Self> {
        let (value, size) = match record.get(at)? >> Tag::SIZE_CODE_AT {
            0 => (at + 2, usize::from(*record.get(at + 1)?)),
            code => (at + 1, 1 << code),
        };
        let end = value + size;
        (end <= record.len()).then_some(Self { at, value, end })
    }

    fn value_size(self) -> usize {
        self.end - self.value
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// They do not start with the magic: they are somebody else's.
    NotARecord,
    /// A record of a version that this build does not know.
    Version(u8),
    /// The length in the header is more than the carrier has, or impossible.
    Length,
    /// A TLV runs past the record's end.
    Tlv {
        /// Its offset from the record's first byte.
        at: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord => f.write_str("these bytes are not a pktmeta record"),
            Self::Version(version) => write!(f, "record version {version} is not known here"),
            Self::Length => f.write_str("the record is longer than the bytes that hold it"),
            Self::Tlv { at } => write!(f, "the field at byte {at} runs past the record's end"),
        }
    }
}

impl core::error::Error for ParseError {}

/// Why a field was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// The record cannot grow as far; [`Record::compact`] may help.
    NoRoom {
        /// Bytes the record would have had.
        needed: usize,
    },
    /// No value of a field with this tag has so many bytes.
    Size,
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { needed } => write!(
                f,
                "the record would have {needed} bytes, {} are the limit",
                Record::CAPACITY
            ),
            Self::Size => f.write_str("the field has no values of that size"),
        }
    }
}

impl core::error::Error for SetError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::{collections::BTreeMap, string::ToString, vec::Vec};

    const TENANT: Tag = Tag::fixed(TlvType::new(6).unwrap(), 4);
    const ZONE: Tag = Tag::fixed(TlvType::new(7).unwrap(), 1);
    const COOKIE: Tag = Tag::sized(TlvType::new(8).unwrap());

    #[test]
    fn places_beyond_those_that_can_be_counted_leave_the_version_alone() {
        let mut record = Record::new();
        for _ in 0..=Record::PLACES_MAX + 1 {
            record.append_void(ZONE, 1).unwrap();
        }
        assert_eq!(Record::parse(record.as_bytes()), Ok(record));
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said_with_its_numbers() {
        let texts = [
            ParseError::NotARecord,
            ParseError::Version(2),
            ParseError::Length,
            ParseError::Tlv { at: 9 },
        ]
        .map(|error| error.to_string());
        assert_eq!(
            texts,
            [
                "these bytes are not a pktmeta record",
                "record version 2 is not known here",
                "the record is longer than the bytes that hold it",
                "the field at byte 9 runs past the record's end",
            ]
        );
        let texts = [SetError::NoRoom { needed: 219 }, SetError::Size].map(|it| it.to_string());
        assert_eq!(
            texts,
            [
                "the record would have 219 bytes, 216 are the limit",
                "the field has no values of that size",
            ]
        );
    }

    #[test]
    fn a_record_has_the_bytes_that_the_abi_prints() {
        let mut record = Record::new();
        record.set_value(TlvType::new(6).unwrap(), &7u32).unwrap();
        record.set_value(TlvType::new(7).unwrap(), &true).unwrap();
        record.set(COOKIE, &[0xaa, 0xbb]).unwrap();
        let golden = [
            b'P', b'M', 0x10, 16, 0x86, 7, 0, 0, 0, 7, 1, 1, 8, 2, 0xaa, 0xbb,
        ];
        assert_eq!(record.as_bytes(), golden);
        assert!(record.delete(TENANT));
        let golden = [
            b'P', b'M', 0x10, 16, 0x80, 0, 0, 0, 0, 7, 1, 1, 8, 2, 0xaa, 0xbb,
        ];
        assert_eq!(record.as_bytes(), golden);
        record.compact();
        assert_eq!(
            record.as_bytes(),
            [&[b'P', b'M', 0x10, 11], &golden[9..]].concat()
        );
    }

    #[test]
    fn a_deleted_field_leaves_a_void_unless_it_was_the_last() {
        let mut record = Record::new();
        record.set(TENANT, &[1, 2, 3, 4]).unwrap();
        record.set(ZONE, &[5]).unwrap();
        let both = record.as_bytes().len();
        for (tag, length) in [(TENANT, both), (ZONE, both - 3)] {
            assert!(record.delete(tag));
            assert!(!record.delete(tag));
            assert_eq!(record.get(tag), None);
            assert_eq!(record.as_bytes().len(), length);
            assert_eq!(Record::parse(record.as_bytes()), Ok(record));
        }
        record.set(COOKIE, &[7; 2]).unwrap();
        record.set(COOKIE, &[8; 3]).unwrap();
        assert_eq!(record.as_bytes().len(), both - 3 + 5);
        record.compact();
        assert_eq!(record.as_bytes(), [b'P', b'M', 0x10, 9, 8, 3, 8, 8, 8]);
    }

    #[test]
    fn a_field_that_is_there_twice_counts_once_and_is_deleted_twice() {
        let twice = [b'P', b'M', 0x10, 13, 7, 1, 1, 7, 1, 2, 9, 1, 3];
        let mut record = Record::parse(&twice).unwrap();
        assert_eq!(record.get(ZONE), Some(&[1][..]));
        let mut merged = Record::new();
        merged.merge(&record).unwrap();
        assert_eq!(merged.get(ZONE), Some(&[1][..]));
        let mut set = record;
        set.set(ZONE, &[4, 4]).unwrap();
        assert_eq!(set.get(ZONE), Some(&[4, 4][..]));
        assert!(record.delete(ZONE));
        assert_eq!(record.get(ZONE), None);
    }

    #[test]
    fn a_full_record_refuses_a_field_and_keeps_what_it_has() {
        let mut record = Record::new();
        record.set(COOKIE, &[0; 200]).unwrap();
        record.set(TENANT, &[0; 4]).unwrap();
        let before = record;
        for (tag, size, error) in [
            (ZONE, 4, SetError::NoRoom { needed: 217 }),
            (COOKIE, 199, SetError::NoRoom { needed: 412 }),
            (COOKIE, 256, SetError::Size),
            (TENANT, 5, SetError::Size),
        ] {
            assert_eq!(record.set(tag, &[1; 256][..size]), Err(error));
            assert_eq!(record, before);
        }
        record.set(ZONE, &[0; 3]).unwrap();
        assert_eq!(record.as_bytes().len(), Record::CAPACITY);
        record.set(ZONE, &[0; 2]).unwrap();
    }

    #[test]
    fn bytes_that_are_not_a_whole_record_say_why() {
        for (bytes, error) in [
            (&b""[..], ParseError::NotARecord),
            (&[b'P', b'M', 0x10], ParseError::NotARecord),
            (&[b'P', b'N', 0x10, 4], ParseError::NotARecord),
            (&[b'P', b'M', 0x20, 4], ParseError::Version(2)),
            (&[b'P', b'M', 0x10, 3], ParseError::Length),
            (&[b'P', b'M', 0x10, 5], ParseError::Length),
            (&[b'P', b'M', 0x10, 5, 1], ParseError::Tlv { at: 4 }),
            (&[b'P', b'M', 0x10, 6, 1, 1, 9], ParseError::Tlv { at: 4 }),
            (
                &[b'P', b'M', 0x10, 6, 0x41, 1, 9],
                ParseError::Tlv { at: 4 },
            ),
        ] {
            assert_eq!(Record::parse(bytes), Err(error), "{bytes:?}");
        }
        let mut long = [0; 256];
        long[..4].copy_from_slice(&[b'P', b'M', 0x10, 217]);
        assert_eq!(Record::parse(&long), Err(ParseError::Length));
    }

    #[test]
    fn merging_sets_what_the_other_has() {
        let mut record = Record::new();
        record.set(TENANT, &[1; 4]).unwrap();
        record.set(ZONE, &[1]).unwrap();
        let mut other = Record::new();
        other.set(COOKIE, &[9; 190]).unwrap();
        other.set(ZONE, &[2]).unwrap();
        let mut merged = record;
        merged.merge(&other).unwrap();
        assert_eq!(merged.get(TENANT), Some(&[1; 4][..]));
        assert_eq!(merged.get(ZONE), Some(&[2][..]));
        assert_eq!(merged.get(COOKIE).map(<[u8]>::len), Some(190));
        other.set(ZONE, &[3; 11]).unwrap();
        assert_eq!(merged.merge(&other), Err(SetError::NoRoom { needed: 217 }));
        assert_eq!(merged.get(ZONE), Some(&[2][..]));
    }

    proptest! {
        #[test]
        fn a_record_parsed_in_place_is_the_parsed_one(
            mut bytes in vec(any::<u8>(), Record::CAPACITY),
            size in 0..=Record::CAPACITY - 6,
            ours: bool,
        ) {
            if ours {
                let mut record = Record::new();
                record.set(COOKIE, &bytes[..size]).unwrap();
                bytes[..record.as_bytes().len()].copy_from_slice(record.as_bytes());
            }
            let mut in_place = Record::new();
            in_place.set(COOKIE, &[0xff; Record::CAPACITY - 6]).unwrap();
            let parsed = in_place.parse_in_place(|place| place.copy_from_slice(&bytes));
            match Record::parse(&bytes) {
                Ok(record) => prop_assert_eq!(in_place.bytes, record.bytes),
                Err(error) => {
                    prop_assert_eq!(parsed, Err(error));
                    prop_assert_eq!(in_place.bytes, Record::new().bytes);
                }
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in vec(any::<u8>(), 0..256), ours: bool) {
            if ours && bytes.len() >= 4 {
                bytes[..3].copy_from_slice(&Record::MAGIC);
                bytes[3] = bytes[3].min(bytes.len() as u8);
            }
            if let Ok(record) = Record::parse(&bytes) {
                let length = record.as_bytes().len();
                prop_assert_eq!(&record.as_bytes()[3..], &bytes[3..length]);
                for (tag, value) in record.iter() {
                    prop_assert!(record.get(tag).is_some() && value.len() <= length);
                }
            }
        }

        #[test]
        fn a_record_reads_back_what_was_written_last(
            steps in vec((1u8..8, proptest::option::of(vec(any::<u8>(), 0..20)), 0u8..9), 0..60),
        ) {
            let mut record = Record::new();
            let mut model = BTreeMap::new();
            for (number, value, fixed) in steps {
                let tlv = TlvType::new(number).unwrap();
                let tag = Tag::fixed(tlv, fixed);
                match value {
                    Some(value) => if record.set(tag, &value).is_ok() {
                        model.insert(tag, value);
                    },
                    None => prop_assert_eq!(record.delete(tag), model.remove(&tag).is_some()),
                }
                prop_assert_eq!(Record::parse(record.as_bytes()), Ok(record));
                if fixed == 7 {
                    record.compact();
                    let tlv = |(tag, value): (&Tag, &Vec<u8>)| {
                        tag.header(value.len()).unwrap().as_bytes().len() + value.len()
                    };
                    let tlvs: usize = model.iter().map(tlv).sum();
                    prop_assert_eq!(record.as_bytes().len(), Record::HEADER + tlvs);
                }
                let mut fields: Vec<_> =
                    record.iter().map(|(tag, value)| (tag, value.to_vec())).collect();
                fields.sort();
                prop_assert_eq!(fields, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
