//! The record codec in C and in Rust, and whatever else reads foreign bytes, fed the same arbitrary
//! input. A [`Harness`] is a function of bytes that panics if something is wrong; the tests run
//! each for a moment, and
//!
//! ```sh
//! cargo run -p pktmeta-fuzz --release -- --seconds 600 --jobs 2
//! ```
//!
//! runs them for longer. It stops at the first finding and prints the shortest input that it made
//! of it, with the command that runs it again.
//!
//! The engine is our own, of some hundred lines: seeds, mutations, a seeded generator of random
//! numbers. Engines that look for coverage (libFuzzer, AFL, bolero with either) need a nightly
//! compiler or a `cargo` subcommand of their own, and bolero without them is only a generator of
//! random bytes, with sixty crates. A record has a few hundred bytes and its codec a few dozen
//! branches: inputs that are read as a sequence of operations on a record that is almost right
//! reach all of them within a second.
//!
//! The C codec is compiled with `-fsanitize=undefined`, and works on memory that ends where the
//! carrier does: a byte read behind it is a fault, which is reported like every other finding.

mod carrier;
pub mod engine;
pub mod generator;
mod harness;
mod input;
#[path = "../../pktmeta-core/vectors/mod.rs"]
mod vectors;

pub use harness::{HARNESSES, Harness, decodes_per_second};
