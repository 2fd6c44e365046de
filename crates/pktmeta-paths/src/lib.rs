//! Real packets over every path that a kernel has, each field checked at each hop.
//!
//! Every packet carries a seed, from which follow the values that were written into its record
//! where it came in. Random schemas, most of which fill the record to its last byte; random
//! sequences of helpers that change a packet and put it back; senders that put a record of their
//! choice where the kernel then looks. Whoever reads a field gets the right value, or is told that
//! there is none.

#![cfg(target_os = "linux")]

mod fields;
mod forger;
mod kernel;
mod paths;
mod random;
mod report;
mod round;
mod sequences;
mod survey;
mod traffic;
mod world;

pub use paths::{Loss, known_loss};
pub use report::{Hook, Report, Verdict};
pub use round::{Options, run};
pub use survey::{Fate, Seen, Survey, Surveyed};
