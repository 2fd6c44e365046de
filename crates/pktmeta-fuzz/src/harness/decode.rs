//! Any bytes: both codecs find the same in them.

use super::{seeds::carrier_seed, target::Harness};
use crate::{
    carrier::{Carrier, Found},
    generator::Generator,
    input::Input,
    vectors,
};
use pktmeta_core::{Record, Tag, record::ParseError};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

pub(super) const HARNESS: Harness = Harness {
    name: "decode",
    about: "C and Rust find the same fields in any bytes, and refuse the same bytes",
    run,
    seeds,
};

/// What tells implementations apart.
fn seeds() -> Vec<Vec<u8>> {
    let cases = vectors::cases().into_iter().map(|case| case.bytes);
    let carriers = cases.chain(vectors::random(3, 500));
    carriers.map(|bytes| carrier_seed(&bytes)).collect()
}

fn run(data: &[u8]) {
    let bytes = Input::new(data).carrier(Carrier::CAPACITY_MAX);
    same(&Carrier::new(&bytes));
}

/// C finds in a carrier what Rust does: in a torn record, what is in front of the torn TLV.
pub(super) fn same(carrier: &Carrier) {
    let bytes = carrier.bytes();
    let parsed = Record::parse(bytes);
    assert_eq!(carrier.check(), parsed.is_ok(), "{bytes:x?}");
    let (record, torn) = match parsed {
        Ok(record) => (record, false),
        Err(ParseError::Tlv { at }) => (cut(bytes, at), true),
        Err(_) => return absent(carrier),
    };
    assert_eq!(carrier.length(), usize::from(bytes[3]));
    for byte in 0..=u8::MAX {
        let found = carrier.find(byte);
        let value = Tag::from_byte(byte).and_then(|tag| record.get(tag));
        match (found, value) {
            (Found::At(at), Some(value)) => {
                assert_eq!(bytes[at], byte);
                assert_eq!(carrier.get(byte).as_deref(), Ok(value));
                let size = value.len() as u8; // a record has fewer bytes
                assert_eq!(carrier.get_fixed(byte, size).as_deref(), Ok(value));
                if byte >> 6 == 0 {
                    let other = carrier.get_fixed(byte, size ^ 1);
                    assert_eq!(other, Err(i64::from(libc::ENOENT)));
                }
            }
            (Found::Torn, None) => assert!(torn),
            // A void is nowhere.
            (Found::Nowhere, None) => assert!(!torn || byte & 0x3f == 0),
            _ => panic!("tag {byte:#x}: C found {found:?}, Rust {value:x?}"),
        }
    }
    // Of one that is not there.
    if let Some(absent) = (1..=u8::MAX).find(|&byte| !matches!(carrier.find(byte), Found::At(_))) {
        assert_eq!(carrier.get(absent), Err(libc::ENOENT.into()));
        assert_eq!(carrier.get_fixed(absent, 4), Err(libc::ENOENT.into()));
    }
}

fn absent(carrier: &Carrier) {
    assert_eq!(carrier.length(), 0);
    for tag in [1, 0x46, 0x86, 0xc6, 0xff, 0] {
        assert_eq!(carrier.find(tag), Found::Nowhere);
        assert_eq!(carrier.get(tag), Err(libc::ENODATA.into()));
        assert_eq!(carrier.get_fixed(tag, 4), Err(libc::ENODATA.into()));
    }
}

/// The record that ends where a TLV is torn.
fn cut(bytes: &[u8], at: usize) -> Record {
    let mut bytes = bytes[..at].to_vec();
    bytes[3] = at as u8; // less than the length, which is a byte
    Record::parse(&bytes).unwrap_or_else(|error| panic!("in front of a torn TLV: {error}"))
}

/// How many arbitrary inputs `Record::parse` reads in a second on one core: their number, and how
/// many of them are records.
#[must_use]
pub fn decodes_per_second() -> (f64, f64) {
    const INPUTS: usize = 1 << 12;
    const TIME: Duration = Duration::from_millis(500);
    let mut generator = Generator::new(1, (HARNESS.seeds)());
    let inputs: Vec<_> = (0..INPUTS)
        .map(|_| Input::new(&generator.input()).carrier(Carrier::CAPACITY_MAX))
        .collect();
    let records = inputs.iter().filter(|input| Record::parse(input).is_ok());
    let share = records.count() as f64 / INPUTS as f64;
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < TIME {
        for input in &inputs {
            let _ = black_box(Record::parse(black_box(input)));
        }
        rounds += 1;
    }
    let decodes = (rounds * INPUTS) as f64;
    (decodes / start.elapsed().as_secs_f64(), share)
}
