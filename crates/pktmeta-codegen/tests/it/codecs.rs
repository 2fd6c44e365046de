//! The codec in every language: each finds the same in the same bytes, and makes the same records.
//!
//! The C of the header library, and the C, Go, Python and Lua that are generated, each in a program
//! that reads records, beside Rust. The fuzzer compares more of what `record.h` does.

use crate::{c, go, python, records, tool, vectors, wireshark};
use pktmeta_core::{Record, Registry, Tag};
use std::{env, process::Command, thread};

/// Compares what a program finds in records with what Rust does.
type Compare = Box<dyn Fn(&[Vec<u8>]) + Sync + Send>;

/// Random records of a round, behind the shared cases.
const RECORDS: usize = 4000;

/// `PKTMETA_CODEC_ROUNDS` makes more rounds, each of a seed that it prints; `PKTMETA_CODEC_SEED` is
/// the first one's.
#[test]
fn every_codec_finds_in_any_bytes_what_rust_finds_and_makes_the_records_that_rust_makes() {
    let preparing: [fn() -> Compare; 5] = [
        || printing(c::reader()),
        || printing(go::reader()),
        || printing(python::reader()),
        || Box::new(wireshark::reader()),
        || headers(c::reader_of_headers()),
    ];
    let (first, rounds) = (
        number("PKTMETA_CODEC_SEED", 7),
        number("PKTMETA_CODEC_ROUNDS", 1),
    );
    thread::scope(|scope| {
        for prepare in preparing {
            scope.spawn(move || {
                let compare = prepare();
                for seed in first..first + rounds {
                    println!("PKTMETA_CODEC_SEED={seed}");
                    compare(&carriers(seed));
                }
            });
        }
    });
}

/// The shared cases, and random records; the last two have all fields.
fn carriers(seed: u64) -> Vec<Vec<u8>> {
    let cases = vectors::cases().into_iter().map(|case| case.bytes);
    let random = vectors::random(seed, RECORDS);
    cases
        .chain(random)
        .chain(records::with_all_fields())
        .collect()
}

/// A program that prints the fields that it finds, and the records that it makes of their values.
fn printing(program: impl Fn() -> Command + Sync + Send + 'static) -> Compare {
    Box::new(move |carriers| {
        let mut program = program();
        let printed = tool::run(program.args(records::numbers()), &records::input(carriers));
        records::compare(&printed, carriers);
    })
}

/// A program that prints the bytes of the TLVs with a tag, and what it makes of the record.
fn headers(program: impl Fn() -> Command + Sync + Send + 'static) -> Compare {
    Box::new(move |carriers| {
        let tags = tags(&vectors::registry());
        let mut program = program();
        let arguments = tags.iter().map(|tag| format!("{:x}", tag.byte()));
        let printed = tool::run(program.args(arguments), &records::input(carriers));
        let mut printed = printed.lines();
        for carrier in carriers {
            let record = Record::parse(carrier);
            for &tag in &tags {
                let found = match &record {
                    Err(_) => "none".to_owned(),
                    Ok(record) => record.get(tag).map_or("absent".into(), records::hex),
                };
                assert_eq!(
                    printed.next(),
                    Some(found.as_str()),
                    "{tag:?} of {carrier:02x?}"
                );
            }
            let Ok(record) = record else {
                assert_eq!(printed.next(), Some("none"), "{carrier:02x?}");
                continue;
            };
            let mut merged = Record::new();
            // What has no room, or a tag for another size, both leave out from there on.
            let _ = merged.merge(&record);
            let mut less = record;
            for &tag in &tags {
                less.delete(tag);
            }
            let mut compact = less;
            compact.compact();
            for made in [&merged, &less, &compact] {
                let made = records::hex(made.as_bytes());
                assert_eq!(printed.next(), Some(made.as_str()), "{carrier:02x?}");
            }
        }
        assert_eq!(printed.next(), None);
    })
}

/// Of every field, and of every code for sizes.
fn tags(registry: &Registry) -> Vec<Tag> {
    let fields = registry.fields();
    let types = fields.iter().map(|field| field.tag().byte() & 0x3f);
    let bytes = types.flat_map(|number| (0..4).map(move |code| number | code << 6));
    bytes.filter_map(Tag::from_byte).collect()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}
