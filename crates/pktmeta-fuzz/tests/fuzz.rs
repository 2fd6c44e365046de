//! Every harness for a moment, always on the same inputs.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_fuzz::{engine, generator::Generator};

#[test]
fn both_codecs_find_the_same_in_any_bytes() {
    fuzz("decode", 40_000);
}

#[test]
fn both_codecs_do_the_same_to_any_bytes() {
    fuzz("operations", 30_000);
}

#[test]
fn every_value_that_is_read_is_written_the_same() {
    fuzz("value", 100_000);
}

#[test]
fn no_text_makes_the_readers_of_schemas_and_records_panic() {
    fuzz("schema", 10_000);
}

#[test]
fn a_registry_of_any_bytes_reads_any_record() {
    fuzz("registry", 50_000);
}

#[track_caller]
fn fuzz(name: &str, executions: u64) {
    let harness = engine::harness(name).unwrap();
    for seed in (harness.seeds)() {
        (harness.run)(&seed);
    }
    let mut generator = Generator::new(0, (harness.seeds)());
    if let Err(finding) = engine::fuzz(harness, &mut generator, |done| done == executions) {
        panic!(
            "{}\n{}",
            finding.message,
            engine::replay(name, &finding.input)
        );
    }
}
