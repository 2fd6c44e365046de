//! The cases that hold all readers and setters of records together, for the tests of each.

#![allow(dead_code, reason = "each test uses some")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_core::{Record, Registry, schema::Schema};

/// Bytes that may be a record.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// What readers find; `None` if it is no record.
    pub(crate) read: Option<&'static str>,
    /// What a setter says.
    pub(crate) set: Set,
}

/// What a setter says of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Ok,
    /// What is sent has no record from now on.
    Ends,
    /// `EINVAL`.
    Invalid,
    /// `EPERM`.
    NotPermitted,
}

/// The cases of `records.txt`.
pub(crate) fn cases() -> Vec<Case> {
    let lines = include_str!("records.txt").lines();
    let lines: Vec<_> = lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let cases = lines.chunks(4).map(|lines| {
        let [name, bytes, read, set] = *lines else {
            panic!("{lines:?} are not four lines")
        };
        let of = |line: &'static str, key: &str| {
            let rest = line.trim_start().strip_prefix(key);
            rest.unwrap_or_else(|| panic!("{name}: {line} is not {key}"))
                .trim_start()
        };
        let digits = of(bytes, "bytes");
        let bytes = (0..digits.len()).step_by(2);
        Case {
            name,
            bytes: bytes
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect(),
            read: Some(of(read, "read")).filter(|read| *read != "no record"),
            set: match of(set, "set") {
                "ok" => Set::Ok,
                "ends" => Set::Ends,
                "EINVAL" => Set::Invalid,
                "EPERM" => Set::NotPermitted,
                other => panic!("{name}: {other}"),
            },
        }
    });
    cases.collect()
}

/// The schemas whose fields the cases have.
pub(crate) fn schemas() -> Vec<Schema> {
    let edge = Schema::parse("edge.toml", include_str!("edge.toml")).unwrap();
    let lab = Schema::parse("lab.toml", include_str!("lab.toml")).unwrap();
    vec![edge, lab]
}

pub(crate) fn registry() -> Registry {
    Schema::registry(&schemas()).unwrap()
}

/// Bytes of which most are records, made of what tells implementations apart: fields of every kind,
/// with values of their type and others, under their tags and others, twice, void, unknown; and
/// what they make is cut, prolonged, or changed in a byte.
pub(crate) fn random(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let registry = registry();
    (0..count).map(|_| random.carrier(&registry)).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn carrier(&mut self, registry: &Registry) -> Vec<u8> {
        let mut record = vec![b'P', b'M', 0x10, 0];
        for _ in 0..self.below(7) {
            let tlv = self.tlv(registry);
            if record.len() + tlv.len() <= Record::CAPACITY {
                record.extend(tlv);
            }
            // Again, with other bytes at times.
            if self.one_in(8) {
                let again = record[Record::HEADER..].to_vec();
                if record.len() + again.len() <= Record::CAPACITY {
                    record.extend(again);
                }
            }
        }
        record[3] = record.len() as u8; // <= CAPACITY
        match self.below(12) {
            0 => record.truncate(self.below(record.len() + 1)),
            1 => {
                let behind = self.below(9);
                record.extend((0..behind).map(|_| self.below(256) as u8));
            }
            2 => record[3] = self.below(256) as u8,
            3 => {
                let at = self.below(record.len());
                record[at] = self.below(256) as u8;
            }
            4 => record[2] |= self.below(16) as u8, // places
            _ => {}
        }
        record
    }

    fn tlv(&mut self, registry: &Registry) -> Vec<u8> {
        let fields = registry.fields();
        let info = fields[self.below(fields.len())];
        let mut tag = info.tag().byte();
        let mut size = usize::from(info.kind.size());
        if info.kind.is_variable() {
            size = self.below(size + 1);
        }
        match self.below(16) {
            // A void, or an unknown field, of this shape.
            0 => tag &= 0xc0,
            1 => tag |= 0x3f,
            // Another size, or another code for it.
            2 => size = self.below(70),
            3 => tag = tag & 0x3f | (self.below(4) as u8) << 6,
            4 => tag &= 0x3f,
            _ => {}
        }
        if tag >> 6 != 0 {
            size = 1 << (tag >> 6);
        }
        let small = self.one_in(2);
        let value = (0..size).map(|_| match small {
            true => self.below(3) as u8,
            false => self.below(256) as u8,
        });
        let value: Vec<u8> = value.collect();
        match tag >> 6 {
            0 => [&[tag, size as u8], &value[..]].concat(), // < 70
            _ => [&[tag], &value[..]].concat(),
        }
    }
}
