//! The record: the TLV bytes that carry one packet's fields. `docs/abi.md` draws them.

use crate::field::{Field, FieldType};
use core::{fmt, num::NonZeroU8};

/// One packet's fields, copied out of their carrier.
///
/// ```
/// use pktmeta_core::{Record, TlvType};
/// let tenant = TlvType::new(6).ok_or("no such type")?;
/// let mut record = Record::new();
/// record.set(tenant, &7u32.to_le_bytes())?;
/// let same = Record::parse(record.as_bytes())?;
/// assert_eq!(same.get(tenant), Some(&[7, 0, 0, 0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Record {
    bytes: [u8; Record::CAPACITY],
}

impl Record {
    /// Most bytes of a record: the metadata area of a driver with 256 bytes of headroom, of which
    /// 40 are `struct xdp_frame`'s.
    pub const CAPACITY: usize = 216;

    /// Bytes before the first TLV: magic (2), version and flags (1), length (1).
    pub const HEADER: usize = 4;

    /// Bytes before each value: type (1), length (1).
    pub const TLV_HEADER: usize = 2;

    /// The first three bytes: "PM", version 1 in the high half, no flags in the low half.
    pub const MAGIC: [u8; 3] = [b'P', b'M', 1 << 4];

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

    /// Reads a record from the start of a carrier's bytes, which may be longer.
    ///
    /// # Errors
    /// The bytes are not a record of this version, or not a whole one. Nothing of such bytes may
    /// be used.
    pub fn parse(carrier: &[u8]) -> Result<Self, ParseError> {
        let [magic0, magic1, version, length, ..] = *carrier else {
            return Err(ParseError::NotARecord);
        };
        if [magic0, magic1] != Self::MAGIC[..2] {
            return Err(ParseError::NotARecord);
        }
        // Flags of this version change nothing for a reader; a later one bumps the version.
        if version >> 4 != Self::MAGIC[2] >> 4 {
            return Err(ParseError::Version(version >> 4));
        }
        let length = usize::from(length);
        let whole = (Self::HEADER..=Self::CAPACITY).contains(&length);
        let source = carrier
            .get(..length)
            .filter(|_| whole)
            .ok_or(ParseError::Length)?;
        let mut record = Self::new();
        record.bytes[..length].copy_from_slice(source);
        let mut at = Self::HEADER;
        while at < length {
            at = record.next_tlv(at).ok_or(ParseError::Tlv { at })?;
        }
        Ok(record)
    }

    /// The record as a carrier holds it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// True if no field is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The bytes of the field with this type.
    #[must_use]
    pub fn get(&self, tlv: TlvType) -> Option<&[u8]> {
        self.iter()
            .find_map(|(found, value)| (found == tlv).then_some(value))
    }

    /// Sets a field: overwrites its value if one of that size is there, else takes it out and
    /// appends the new one.
    ///
    /// # Errors
    /// The record would grow past [`Record::CAPACITY`]; it is unchanged.
    pub fn set(&mut self, tlv: TlvType, value: &[u8]) -> Result<(), NoRoom> {
        if let Some(at) = self
            .find(tlv)
            .filter(|&at| self.value(at).len() == value.len())
        {
            let start = at + Self::TLV_HEADER;
            self.bytes[start..start + value.len()].copy_from_slice(value);
            return Ok(());
        }
        let start = self.len();
        let end = start + Self::TLV_HEADER + value.len();
        if end > Self::CAPACITY {
            return Err(NoRoom { needed: end });
        }
        self.remove(tlv);
        // end <= CAPACITY, so the length and the value's size fit their bytes.
        self.bytes[start] = tlv.get();
        self.bytes[start + 1] = value.len() as u8;
        self.bytes[start + Self::TLV_HEADER..end].copy_from_slice(value);
        self.bytes[Self::LENGTH_AT] = end as u8;
        Ok(())
    }

    /// Sets a field to a typed value.
    ///
    /// # Errors
    /// As [`Record::set`].
    pub fn set_value<T: FieldType>(
        &mut self,
        tlv: TlvType,
        _field: Field<T>,
        value: &T,
    ) -> Result<(), NoRoom> {
        value.encode(|bytes| self.set(tlv, bytes))
    }

    /// Takes a field out, leaving a void; true if it was there.
    pub fn remove(&mut self, tlv: TlvType) -> bool {
        let at = self.find(tlv);
        if let Some(at) = at {
            self.bytes[at] = 0;
            let end = at + Self::TLV_HEADER + self.value(at).len();
            self.bytes[at + Self::TLV_HEADER..end].fill(0);
        }
        at.is_some()
    }

    /// The fields in the order in which they stand, voids left out.
    pub fn iter(&self) -> impl Iterator<Item = (TlvType, &[u8])> {
        self.tlvs()
            .filter_map(|at| Some((TlvType::new(self.bytes[at])?, self.value(at))))
    }

    fn len(&self) -> usize {
        self.bytes[Self::LENGTH_AT].into()
    }

    fn find(&self, tlv: TlvType) -> Option<usize> {
        self.tlvs().find(|&at| self.bytes[at] == tlv.get())
    }

    /// Where each TLV starts, voids included.
    fn tlvs(&self) -> impl Iterator<Item = usize> {
        let end = self.len();
        core::iter::successors(Some(Self::HEADER), |&at| self.next_tlv(at))
            .take_while(move |&at| at < end)
    }

    /// The end of the TLV at `at`, if it lies within the record.
    fn next_tlv(&self, at: usize) -> Option<usize> {
        let size = *self.bytes.get(at + 1)?;
        let end = at + Self::TLV_HEADER + usize::from(size);
        (end <= self.len()).then_some(end)
    }

    /// The value of the TLV at `at`, which one of the walks found to lie within the record.
    fn value(&self, at: usize) -> &[u8] {
        let start = at + Self::TLV_HEADER;
        &self.bytes[start..start + usize::from(self.bytes[at + 1])]
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

/// The number by which a record names a field, 1 to 255; 0 marks a void. The registry of the host
/// hands them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvType(NonZeroU8);

impl TlvType {
    /// The type numbered `number`; `None` for 0.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for TlvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// They do not start with the magic: somebody else's bytes.
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

/// A record cannot grow as far as a new field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes the record would have had.
    pub needed: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the record would have {} bytes, {} are the limit",
            self.needed,
            Record::CAPACITY
        )
    }
}

impl core::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const TENANT: TlvType = TlvType::new(6).unwrap();
    const ZONE: TlvType = TlvType::new(7).unwrap();

    #[test]
    fn a_record_has_the_bytes_that_the_abi_prints() {
        let mut record = Record::new();
        record
            .set_value(TENANT, Field::new("tenant"), &7u32)
            .unwrap();
        record.set(ZONE, &[0xaa, 0xbb]).unwrap();
        let golden = [b'P', b'M', 0x10, 14, 6, 4, 7, 0, 0, 0, 7, 2, 0xaa, 0xbb];
        assert_eq!(record.as_bytes(), golden);
    }

    #[test]
    fn a_removed_field_leaves_a_void_that_readers_skip() {
        let mut record = Record::new();
        record.set(TENANT, &[1, 2, 3, 4]).unwrap();
        record.set(ZONE, &[5]).unwrap();
        assert!(record.remove(TENANT));
        assert!(!record.remove(TENANT));
        assert_eq!(&record.as_bytes()[4..10], [0, 4, 0, 0, 0, 0]);
        assert_eq!(
            record.iter().collect::<alloc::vec::Vec<_>>(),
            [(ZONE, &[5][..])]
        );
        assert_eq!(Record::parse(record.as_bytes()), Ok(record));
    }

    #[test]
    fn a_full_record_refuses_a_field_and_keeps_what_it_has() {
        let mut record = Record::new();
        record.set(TENANT, &[0; 200]).unwrap();
        let before = record;
        assert_eq!(record.set(ZONE, &[0; 9]), Err(NoRoom { needed: 217 }));
        assert_eq!(record.set(TENANT, &[0; 201]), Err(NoRoom { needed: 409 }));
        assert_eq!(record, before);
        record.set(ZONE, &[0; 8]).unwrap();
        assert_eq!(record.as_bytes().len(), Record::CAPACITY);
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
        ] {
            assert_eq!(Record::parse(bytes), Err(error), "{bytes:?}");
        }
        let mut long = [0; 256];
        long[..4].copy_from_slice(&[b'P', b'M', 0x10, 217]);
        assert_eq!(Record::parse(&long), Err(ParseError::Length));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in vec(any::<u8>(), 0..256), ours: bool) {
            if ours && bytes.len() >= 4 {
                bytes[..3].copy_from_slice(&Record::MAGIC);
                bytes[3] = bytes[3].min(bytes.len() as u8);
            }
            if let Ok(record) = Record::parse(&bytes) {
                let length = record.as_bytes().len();
                prop_assert_eq!(&record.as_bytes()[3..], &bytes[3..length]);
                for (tlv, value) in record.iter() {
                    prop_assert!(record.get(tlv).is_some() && value.len() <= length);
                }
            }
        }

        #[test]
        fn a_record_reads_back_what_was_written_last(
            steps in vec((1u8..8, proptest::option::of(vec(any::<u8>(), 0..20))), 0..40),
        ) {
            let mut record = Record::new();
            let mut model = std::collections::BTreeMap::new();
            for (number, value) in steps {
                let tlv = TlvType::new(number).unwrap();
                match value {
                    Some(value) => if record.set(tlv, &value).is_ok() {
                        model.insert(tlv, value);
                    },
                    None => prop_assert_eq!(record.remove(tlv), model.remove(&tlv).is_some()),
                }
                prop_assert_eq!(Record::parse(record.as_bytes()), Ok(record));
                let mut fields: std::vec::Vec<_> =
                    record.iter().map(|(tlv, value)| (tlv, value.to_vec())).collect();
                fields.sort();
                prop_assert_eq!(fields, model.clone().into_iter().collect::<std::vec::Vec<_>>());
            }
        }
    }
}
