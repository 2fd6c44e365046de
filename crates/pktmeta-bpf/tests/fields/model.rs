//! What the accessors have to do, by means of the Rust codec.

use super::harness::{Answer, Field, Hook, Operation, Programs, area, registry, secret, tag};
use pktmeta_core::{Record, registry::Layout, seal};

/// Runs random operations on random records, in the kernel and here, and compares after each.
pub(crate) fn compare(programs: &Programs, hook: Hook, runs: u32) {
    let (layout, fields) = (registry().layout(), Field::all());
    let mut random = Random(u64::from(runs));
    let mut metadata = Vec::new();
    for run in 0..runs {
        // Now and then another packet.
        if run % 40 == 0 {
            metadata = packet(&mut random, hook, &layout, &fields);
        }
        let field = fields[random.below(fields.len())];
        let operation = match random.below(12) {
            0..5 => Operation::Set,
            5..8 => Operation::Get,
            8..11 => Operation::Delete,
            _ => Operation::Compact,
        };
        let size = match field.is_variable() {
            true => random.below(field.size() + 2),
            false => field.size(),
        };
        let value: Vec<u8> = (0..size).map(|_| random.byte()).collect();
        let before = metadata.clone();
        let (result, got, after) = programs.run(hook, operation, field, &value, &metadata);
        let mut model = Model {
            hook,
            layout: &layout,
            metadata: &mut metadata,
        };
        let expected = match operation {
            Operation::Get => model.get(field).map(|value| assert_eq!(got, value)),
            Operation::Set => model.set(field, &value),
            Operation::Delete => model.delete(field),
            _ => model.compact(),
        };
        let errno = expected.err().unwrap_or(0);
        let what = || format!("{hook:?} {operation:?} {field:?} {value:x?} of {before:x?}");
        assert_eq!(result, -i64::from(errno), "{}", what());
        assert_eq!(after, metadata, "{}", what());
    }
}

/// The metadata of a packet: none, a record of this host, or of another.
fn packet(random: &mut Random, hook: Hook, layout: &Layout, fields: &[Field]) -> Vec<u8> {
    let size = 8 * (6 + random.below(22));
    match (random.below(4), hook) {
        (0, Hook::Xdp) => Vec::new(),
        (0 | 1, _) => area(&layout.template, layout.area),
        // As a program with other fields makes it, or one that was bound before the last was
        // registered.
        (2, _) => area(&layout.template, size),
        _ => {
            let mut record = Record::new();
            for _ in 0..random.below(6) {
                let field = fields[random.below(fields.len() - 1)];
                let value: Vec<u8> = (0..field.size()).map(|_| random.byte()).collect();
                let before = record;
                // If it has room.
                let _ = record.set(tag(field), &value);
                if record.as_bytes().len() > seal::RECORD_MAX {
                    record = before;
                }
            }
            area(&record, size)
        }
    }
}

struct Model<'a> {
    hook: Hook,
    layout: &'a Layout,
    metadata: &'a mut Vec<u8>,
}

impl Model<'_> {
    fn get(&self, field: Field) -> Answer<Vec<u8>> {
        let tag = field.info.ok_or(libc::ENOENT)?.tag();
        let record = self.record().ok_or(libc::ENODATA)?;
        let value = record.get(tag);
        let right = value.filter(|value| match field.is_variable() {
            true => value.len() <= field.size(),
            false => value.len() == field.size(),
        });
        Ok(right.ok_or(libc::ENOENT)?.into())
    }

    fn set(&mut self, field: Field, value: &[u8]) -> Answer {
        if self.metadata.is_empty() && self.hook == Hook::Tc {
            return Err(libc::ENODATA);
        }
        self.may_write(field)?;
        if value.len() > field.size() {
            return Err(libc::EINVAL);
        }
        if self.metadata.is_empty() {
            *self.metadata = area(&self.layout.template, self.layout.area);
        }
        let mut record = self.record().ok_or(libc::EBADMSG)?;
        if let Some(place) = self.place(field) {
            self.metadata[place] = tag(field).byte();
            let start = self.end_of_place(field) - value.len();
            self.metadata[start..][..value.len()].copy_from_slice(value);
            return Ok(());
        }
        let needed = needed(&record, field, value.len());
        let room = self.metadata.len() - seal::SIZE;
        if needed > room || record.set(tag(field), value).is_err() {
            return Err(libc::ENOSPC);
        }
        self.keep(&record);
        Ok(())
    }

    fn delete(&mut self, field: Field) -> Answer {
        self.may_write(field)?;
        let mut record = self.record().ok_or(libc::ENOENT)?;
        record
            .delete(tag(field))
            .then_some(())
            .ok_or(libc::ENOENT)?;
        self.keep(&record);
        Ok(())
    }

    fn compact(&mut self) -> Answer {
        if self.metadata.is_empty() {
            return Err(libc::ENODATA);
        }
        let mut record = self.record().ok_or(libc::EBADMSG)?;
        record.compact();
        self.keep(&record);
        Ok(())
    }

    fn may_write(&self, field: Field) -> Answer {
        let writers = field.info.ok_or(libc::ENOENT)?.policy.writers;
        let may = match self.hook {
            Hook::Xdp => writers.xdp,
            Hook::Tc => writers.tc,
        };
        may.then_some(()).ok_or(libc::EPERM)
    }

    /// The field's place, if the record has places and it or its void stands there.
    fn place(&self, field: Field) -> Option<usize> {
        let template = self.layout.template.as_bytes();
        let place = usize::from(field.info?.place?);
        let end = self.end_of_place(field);
        let has_places = self.metadata.len() == self.layout.area
            && self.metadata[2] == template[2]
            && usize::from(self.metadata[3]) >= end;
        let found = self.metadata[place] & 0x3f;
        (has_places && (found == 0 || self.metadata[place] == tag(field).byte())).then_some(place)
    }

    fn end_of_place(&self, field: Field) -> usize {
        let info = field.info.unwrap();
        usize::from(info.place.unwrap()) + info.kind.tlv_size()
    }

    fn record(&self) -> Option<Record> {
        secret().open(self.metadata)
    }

    fn keep(&mut self, record: &Record) {
        *self.metadata = area(record, self.metadata.len());
    }
}

/// Bytes of the record while a field is set.
fn needed(record: &Record, field: Field, size: usize) -> usize {
    let header = if tag(field).byte() >> 6 == 0 { 2 } else { 1 };
    let bytes = record.as_bytes();
    match record.get(tag(field)) {
        Some(old) if old.len() == size => 0,
        // The last makes room itself.
        Some(old) if old.as_ptr_range().end == bytes.as_ptr_range().end => {
            bytes.len() - old.len() + size
        }
        _ => bytes.len() + header + size,
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        // Often what looks like a void, or a small number.
        match self.below(3) {
            0 => 0,
            1 => self.below(20) as u8,
            _ => self.below(256) as u8,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}
