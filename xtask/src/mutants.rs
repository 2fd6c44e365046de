//! Mutation testing: would a test notice if this line were wrong?
//!
//! Each mutant is one small change of the code. A mutant that every test passes is a hole in the
//! tests, or changes nothing that anybody can see. Not part of `check` or `test`: it takes hours.

mod c;
mod limit;
mod rust;
mod score;
mod survivors;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{Error, Result};
use crate::{setup, tool};

/// Runs the mutants of one language. Fails if the score is below what the language has to reach,
/// or if a mutant survives that no list explains.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    setup::to_test()?;
    if !tool::is_root() {
        return Err(Error::new(
            "the tests that look for mutants load BPF programs: run them as root",
        ));
    }
    let score = match arguments.split_first() {
        Some((language, rest)) if language == "c" => c::run(rest)?,
        Some((language, rest)) if language == "rust" => rust::run(rest)?,
        _ => {
            return Err(Error::new(
                "say which: `cargo xtask mutants c [TEXT]` or `cargo xtask mutants rust [GROUP] \
                 [ARGS]`",
            ));
        }
    };
    println!("{score}");
    Ok(if score.is_enough() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
