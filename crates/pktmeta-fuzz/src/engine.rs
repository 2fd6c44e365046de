//! Makes inputs, runs harnesses on them, and makes what fails short.

use crate::{HARNESSES, Harness, generator::Generator};
use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// An input that a harness fails on.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Of the harness.
    pub harness: &'static str,
    /// As short as it could be made.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// Runs a harness on one input.
///
/// # Errors
/// What is wrong.
pub fn run(harness: &Harness, input: &[u8]) -> Result<(), String> {
    report_faults();
    CURRENT.set(Some((harness.name, input)));
    let result = panic::catch_unwind(AssertUnwindSafe(|| (harness.run)(input)));
    CURRENT.set(None);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without a message").to_owned()
    })
}

/// Runs a harness on inputs of a generator until `stop` says so; how many it ran.
///
/// # Errors
/// The first finding, with its input made short.
pub fn fuzz(
    harness: &Harness,
    generator: &mut Generator,
    mut stop: impl FnMut(u64) -> bool,
) -> Result<u64, Finding> {
    let mut executions = 0;
    while !stop(executions) {
        let input = generator.input();
        executions += 1;
        if let Err(message) = run(harness, &input) {
            return Err(shorten(harness, input, message));
        }
    }
    Ok(executions)
}

/// Fuzzes for some time on this thread, all harnesses in turn or one. What each did is added to
/// `done`, which has their order.
///
/// # Errors
/// The first finding; others stop when `found` is set.
pub fn fuzz_for(
    time: Duration,
    seed: u64,
    harnesses: &[Harness],
    found: &AtomicBool,
    done: &mut [(u64, Duration)],
) -> Result<(), Finding> {
    const TURN: Duration = Duration::from_millis(200);
    let end = Instant::now() + time;
    let mut generators: Vec<_> = harnesses
        .iter()
        .map(|harness| Generator::new(seed, (harness.seeds)()))
        .collect();
    while Instant::now() < end && !found.load(Ordering::Relaxed) {
        for ((harness, generator), done) in harnesses.iter().zip(&mut generators).zip(&mut *done) {
            let start = Instant::now();
            let turn = |executions| executions % 64 == 63 && start.elapsed() > TURN;
            let executions = fuzz(harness, generator, turn).inspect_err(|_| {
                found.store(true, Ordering::Relaxed);
            })?;
            done.0 += executions;
            done.1 += start.elapsed();
        }
    }
    Ok(())
}

/// The harness with this name.
#[must_use]
pub fn harness(name: &str) -> Option<&'static Harness> {
    HARNESSES.iter().find(|harness| harness.name == name)
}

/// Leaves out of a failing input what it fails without, and makes the rest small numbers.
fn shorten(harness: &Harness, mut input: Vec<u8>, mut message: String) -> Finding {
    let mut fails = |input: &[u8]| match run(harness, input) {
        Ok(()) => false,
        Err(why) => {
            message = why;
            true
        }
    };
    let mut part = input.len();
    while part > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + part).min(input.len());
            let shorter = [&input[..at], &input[end..]].concat();
            match fails(&shorter) {
                true => input = shorter,
                false => at = end,
            }
        }
        part /= 2;
    }
    for at in 0..input.len() {
        let before = input[at];
        for smaller in [0, 1, before / 2, before.saturating_sub(1)] {
            if smaller < input[at] {
                let larger = std::mem::replace(&mut input[at], smaller);
                if !fails(&input) {
                    input[at] = larger;
                }
            }
        }
    }
    // The last that was tried may not be the one that is kept.
    if let Err(why) = run(harness, &input) {
        message = why;
    }
    Finding {
        harness: harness.name,
        input,
        message,
    }
}

thread_local! {
    /// What this thread runs.
    static CURRENT: Cell<Option<(&'static str, *const [u8])>> = const { Cell::new(None) };
}

/// A fault or a trap of the C codec ends the process; before that, its input is printed.
fn report_faults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGFPE,
        ] {
            // SAFETY: the handler writes bytes and aborts; what it reads is alive while it runs,
            // because it interrupts what runs on it. After it, the process is gone.
            unsafe { libc::signal(signal, report_fault as *const () as libc::sighandler_t) };
        }
    });
}

extern "C" fn report_fault(_signal: libc::c_int) {
    if let Some((harness, input)) = CURRENT.get() {
        // SAFETY: run() has it borrowed: it is what this thread was interrupted in.
        let input = unsafe { &*input };
        eprintln!("{harness}: a fault or undefined behaviour in C");
        eprintln!("{}", replay(harness, input));
    }
    std::process::abort();
}

/// The command that runs a harness on an input.
#[must_use]
pub fn replay(harness: &str, input: &[u8]) -> String {
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("cargo run -p pktmeta-fuzz -- {harness} --replay '{hex}'")
}
