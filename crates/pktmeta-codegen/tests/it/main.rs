//! Generated text compared byte for byte, compiled, run and loaded.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod c;
mod codecs;
mod errors;
mod go;
mod json_schema;
mod python;
mod records;
mod rust;
mod sample;
mod snapshots;
mod tool;
#[path = "../../../pktmeta-core/vectors/mod.rs"]
mod vectors;
mod wireshark;

fn input() -> pktmeta_codegen::Input {
    pktmeta_codegen::Input::new(sample::schemas()).unwrap()
}
