//! What is fed.

mod decode;
mod operations;
mod registry;
mod schema;
mod seeds;
mod target;
mod value;

pub use decode::decodes_per_second;
pub use target::Harness;

/// All of them.
pub const HARNESSES: [Harness; 5] = [
    decode::HARNESS,
    operations::HARNESS,
    value::HARNESS,
    schema::HARNESS,
    registry::HARNESS,
];
