//! The codec on the host: `Record` on arbitrary bytes.

use crate::samples::Samples;
use anyhow::Context;
use pktmeta::Record;
use pktmeta_core::{Tag, TlvType};
use std::{hint::black_box, time::Instant};

/// What is measured of the host, and its unit.
pub(super) struct Codec {
    pub(super) parse: Vec<(&'static str, Inputs, Samples)>,
    pub(super) calls: Vec<(&'static str, Samples)>,
    record: Record,
    last: Tag,
}

/// Inputs of one kind: [`Record::CAPACITY`] bytes each.
pub(super) struct Inputs(Vec<u8>);

/// Different inputs of a kind: together more than the processor's caches next to it hold.
const INPUTS: usize = 1 << 14;
/// Inputs that are parsed in a round.
const PARSES: usize = 1 << 20;
/// Calls of `get` and `set` in a round.
const CALLS: u32 = 1 << 20;

impl Codec {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut kind = |name, make: fn(&mut Random, &mut [u8])| {
            let mut bytes = vec![0; INPUTS * Record::CAPACITY];
            for input in bytes.chunks_exact_mut(Record::CAPACITY) {
                random.fill(input);
                make(&mut random, input);
            }
            (name, Inputs(bytes), Samples::default())
        };
        let parse = vec![
            kind("random bytes", |_, _| ()),
            kind("random behind a valid header", |_, input| {
                input[..3].copy_from_slice(&Record::MAGIC);
                input[3] %= Record::CAPACITY as u8 + 1;
            }),
            kind("valid records, 1 to 12 fields", |random, input| {
                let record = random.record();
                let bytes = record.as_bytes();
                input[..bytes.len()].copy_from_slice(bytes);
            }),
        ];
        let mut record = Record::new();
        let tags = (1..=8)
            .filter_map(TlvType::new)
            .map(|tlv| Tag::fixed(tlv, 8));
        let tags: Vec<_> = tags.collect();
        for &tag in &tags {
            record.set(tag, &[1; 8])?;
        }
        let calls = ["get, last of 8 u64", "set, last of 8 u64"];
        Ok(Self {
            parse,
            calls: calls.map(|name| (name, Samples::default())).into(),
            record,
            last: *tags.last().context("no field")?,
        })
    }

    /// Measures everything once.
    pub(super) fn round(&mut self) {
        for (_, Inputs(bytes), samples) in &mut self.parse {
            let started = Instant::now();
            for input in bytes.chunks_exact(Record::CAPACITY).cycle().take(PARSES) {
                let _ = black_box(Record::parse(black_box(input)));
            }
            samples.push(started.elapsed().as_nanos() as f64 / PARSES as f64);
        }
        let Self { record, last, .. } = self;
        let mut clock = |mut call: Box<dyn FnMut(&mut Record)>| {
            let started = Instant::now();
            call(record);
            started.elapsed().as_nanos() as f64 / f64::from(CALLS)
        };
        let last = *last;
        let get = clock(Box::new(move |record| {
            for _ in 0..CALLS {
                black_box(black_box(&*record).get(black_box(last)));
            }
        }));
        let set = clock(Box::new(move |record| {
            for n in 0..CALLS {
                let value = u64::from(n).to_le_bytes();
                let _ = black_box(black_box(&mut *record).set(black_box(last), &value));
            }
        }));
        for ((_, samples), nanoseconds) in self.calls.iter_mut().zip([get, set]) {
            samples.push(nanoseconds);
        }
    }
}

/// Numbers that are the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_ne_bytes()[..chunk.len()]);
        }
    }

    /// Up to 12 fields of random sizes.
    fn record(&mut self) -> Record {
        let mut record = Record::new();
        let fields = 1 + self.next() % 12;
        for tlv in (1..=fields as u8).filter_map(TlvType::new) {
            let size = [1, 2, 4, 8, 16][(self.next() % 5) as usize];
            // One that has no room is left out.
            let _ = record.set(Tag::fixed(tlv, size), &[7; 16][..size.into()]);
        }
        record
    }
}
