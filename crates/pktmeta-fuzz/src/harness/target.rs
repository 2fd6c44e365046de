//! What a harness is.

/// A function of bytes that panics if something is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Harness {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it says, if it ends.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}
