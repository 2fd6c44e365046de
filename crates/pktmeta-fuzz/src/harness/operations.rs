//! Any sequence of operations on any bytes: both codecs make the same of them.

use super::{
    decode,
    seeds::{GOLDEN, carrier_seed},
    target::Harness,
};
use crate::{
    carrier::{Carrier, Found},
    input::Input,
};
use pktmeta_core::{
    Record, Tag, TlvType,
    record::{ParseError, SetError},
};

pub(super) const HARNESS: Harness = Harness {
    name: "operations",
    about: "after any operations C and Rust have the same bytes and had the same errors",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    // Sets of each size, a delete, a compaction, another carrier, a merge of one golden vector.
    let operations = [
        &[0, 6, 0x86, 1, 2, 3, 4][..],
        &[0, 7, 7, 3, 5, 6, 7, 0, 6, 8, 2, 5, 6],
        &[0, 2, 0x86, 0, 0, MOVE, 40, 0, 1],
        &carrier_seed(GOLDEN[4]),
        &[0, 5, 8, 50],
    ]
    .concat();
    let seeds = GOLDEN.map(|golden| [carrier_seed(golden), operations.clone()].concat());
    seeds.into()
}

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut carrier = Carrier::new(&input.carrier(Carrier::CAPACITY_MAX));
    while !input.is_empty() {
        if input.byte() == MOVE {
            carrier = moved(&carrier, input.byte().into());
        } else {
            step(&mut carrier, &Operation::choose(&mut input));
        }
    }
    decode::same(&carrier);
}

/// A carrier of another capacity; what does not fit is left behind.
fn moved(carrier: &Carrier, capacity: usize) -> Carrier {
    let mut bytes = carrier.bytes()[..carrier.length()].to_vec();
    bytes.resize(capacity, 0);
    Carrier::new(&bytes)
}

fn step(carrier: &mut Carrier, operation: &Operation) {
    let before = carrier.bytes().to_vec();
    let result = operation.in_c(carrier);
    let after = carrier.bytes();
    let what = || format!("{operation:x?} of {before:x?}");
    match Record::parse(&before) {
        Ok(record) => {
            let mut model = Model {
                record,
                capacity: before.len().min(Record::CAPACITY),
            };
            assert_eq!(result, model.apply(operation), "{}", what());
            assert_eq!(after, model.in_carrier(&before), "{}", what());
            if let (Operation::Set(tag, value), Ok(())) = (operation, result) {
                assert_eq!(model.record.get(*tag), Some(&**value), "{}", what());
            }
        }
        // Nothing makes it whole, adds to it, or takes from it.
        Err(ParseError::Tlv { at }) => {
            assert_eq!(after[..4], before[..4], "{}", what());
            assert_eq!(after[at..], before[at..], "{}", what());
            assert!(!carrier.check(), "{}", what());
            match (operation, result) {
                (Operation::Compact | Operation::Merge(_), result) => {
                    assert_eq!(result, Err(libc::EBADMSG), "{}", what());
                }
                (Operation::Delete(tag), _) => {
                    assert_eq!(carrier.find(tag.byte()), Found::Torn, "{}", what());
                }
                (Operation::Set(tag, value), Ok(())) => {
                    assert_eq!(carrier.get(tag.byte()).as_ref(), Ok(value), "{}", what());
                }
                (Operation::Set(..), Err(error)) => {
                    let possible = [libc::EBADMSG, libc::ENOSPC, libc::EINVAL];
                    assert!(possible.contains(&error), "{}", what());
                    assert_eq!(after, before, "{}", what());
                }
            }
        }
        Err(_) => {
            let possible = [libc::EBADMSG, libc::ENOENT, libc::EINVAL];
            assert!(
                result.is_err_and(|error| possible.contains(&error)),
                "{}",
                what()
            );
            assert_eq!(after, before, "{}", what());
        }
    }
}

/// Stands for a move to another carrier.
const MOVE: u8 = 0x40;

#[derive(Debug)]
enum Operation {
    Set(Tag, Vec<u8>),
    Delete(Tag),
    Compact,
    /// Of these bytes.
    Merge(Vec<u8>),
}

impl Operation {
    fn choose(input: &mut Input<'_>) -> Self {
        let kind = input.byte();
        match kind & 0x0f {
            0 => Self::Compact,
            1 => Self::Merge(input.carrier(Carrier::CAPACITY_MAX)),
            2..=4 => Self::Delete(tag(input)),
            kind => {
                let tag = tag(input);
                let size = match (tag.byte() >> 6, kind) {
                    // Of any size, and of one that is never right.
                    (0, 5) => 4 * usize::from(input.byte()),
                    (0, _) => usize::from(input.byte()) % 24,
                    (_, 5) => usize::from(input.byte()),
                    (code, _) => 1 << code,
                };
                let mut value = input.bytes(size).to_vec();
                value.resize(size, 0xee);
                Self::Set(tag, value)
            }
        }
    }

    fn in_c(&self, carrier: &mut Carrier) -> Result<(), i32> {
        let result = match self {
            Self::Set(tag, value) => carrier.set(tag.byte(), value),
            Self::Delete(tag) => carrier.remove(tag.byte()),
            Self::Compact => carrier.compact(),
            Self::Merge(other) => carrier.merge(&Carrier::new(other)),
        };
        result.map_err(|error| error as i32) // an errno
    }
}

/// One of few numbers most of the time, so that operations meet.
fn tag(input: &mut Input<'_>) -> Tag {
    let byte = input.byte();
    let few = byte & 0xc7;
    let tag = Tag::from_byte(if byte & 0x38 == 0x38 { byte } else { few });
    tag.unwrap_or(Tag::sized(FIRST))
}

const FIRST: TlvType = match TlvType::new(1) {
    Some(first) => first,
    None => panic!("1 is a type"),
};

/// What the Rust codec makes of a record in a carrier.
struct Model {
    record: Record,
    capacity: usize,
}

impl Model {
    fn apply(&mut self, operation: &Operation) -> Result<(), i32> {
        match operation {
            Operation::Set(tag, value) => self.set(*tag, value),
            Operation::Delete(tag) => match self.record.delete(*tag) {
                true => Ok(()),
                false => Err(libc::ENOENT),
            },
            Operation::Compact => {
                self.record.compact();
                Ok(())
            }
            Operation::Merge(other) => {
                let other = Record::parse(other).map_err(|_| libc::EBADMSG)?;
                let mut merged = self.record;
                let result = merged.merge(&other).map_err(errno);
                if self.capacity < Record::CAPACITY {
                    let mut fields = other.iter();
                    return fields.try_for_each(|(tag, value)| {
                        self.set(tag, other.get(tag).unwrap_or(value))
                    });
                }
                self.record = merged;
                result
            }
        }
    }

    fn set(&mut self, tag: Tag, value: &[u8]) -> Result<(), i32> {
        let mut set = self.record;
        set.set(tag, value).map_err(errno)?;
        if self.needed(tag, value.len()) > self.capacity {
            return Err(libc::ENOSPC);
        }
        self.record = set;
        Ok(())
    }

    /// Bytes of the record while a field is set.
    fn needed(&self, tag: Tag, size: usize) -> usize {
        let header = if tag.byte() >> 6 == 0 { 2 } else { 1 };
        let bytes = self.record.as_bytes();
        match self.record.get(tag) {
            Some(old) if old.len() == size => 0,
            // The last makes room itself.
            Some(old) if old.as_ptr_range().end == bytes.as_ptr_range().end => {
                bytes.len() - old.len() + size
            }
            _ => bytes.len() + header + size,
        }
    }

    /// The carrier's bytes: the record, zeros up to where it ended before, and what was behind it.
    fn in_carrier(&self, before: &[u8]) -> Vec<u8> {
        let length = usize::from(before[3]);
        let mut after = before.to_vec();
        after[..length].fill(0);
        let record = self.record.as_bytes();
        after[..record.len()].copy_from_slice(record);
        after
    }
}

fn errno(error: SetError) -> i32 {
    match error {
        SetError::NoRoom { .. } => libc::ENOSPC,
        _ => libc::EINVAL,
    }
}
