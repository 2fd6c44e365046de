//! Fuzzes for as long as it is told to.

use clap::Parser;
use pktmeta_fuzz::{
    HARNESSES, Harness, decodes_per_second,
    engine::{self, Finding, fuzz_for, replay},
};
use std::{process::ExitCode, sync::atomic::AtomicBool, thread, time::Duration};

/// Feeds arbitrary input to the record codecs and to whatever else reads foreign bytes.
#[derive(Debug, Parser)]
struct Arguments {
    /// One harness; without it all of them, in turns.
    #[arg(value_parser = HARNESSES.map(|harness| harness.name))]
    harness: Option<String>,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Other numbers make other inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs the harness on this input instead, in hex.
    #[arg(long, value_name = "HEX", requires = "harness")]
    replay: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = arguments.harness.as_deref().and_then(engine::harness);
    let harnesses = match chosen {
        Some(harness) => std::slice::from_ref(harness),
        None => &HARNESSES,
    };
    match (&arguments.replay, chosen) {
        (Some(hex), Some(harness)) => again(harness, hex),
        _ => long(&arguments, harnesses),
    }
}

fn again(harness: &Harness, hex: &str) -> ExitCode {
    let Some(input) = bytes(hex) else {
        eprintln!("--replay wants hex digits, two a byte");
        return ExitCode::FAILURE;
    };
    // The panic says where.
    (harness.run)(&input);
    println!("{}: {}", harness.name, harness.about);
    ExitCode::SUCCESS
}

fn long(arguments: &Arguments, harnesses: &[Harness]) -> ExitCode {
    let (decodes, records) = decodes_per_second();
    println!(
        "Record::parse: {:.1} million arbitrary inputs a second on one core, {:.0} % of them \
         records",
        decodes / 1e6,
        100.0 * records
    );
    // A finding is printed once, by us, not each time that it fails while it is made short.
    std::panic::set_hook(Box::new(|_| {}));
    let found = AtomicBool::new(false);
    let time = Duration::from_secs(arguments.seconds);
    let results: Vec<_> = thread::scope(|scope| {
        let jobs: Vec<_> = (0..arguments.jobs)
            .map(|job| {
                let (found, seed) = (&found, arguments.seed + (job << 32));
                scope.spawn(move || {
                    let mut done = vec![(0, Duration::ZERO); harnesses.len()];
                    let result = fuzz_for(time, seed, harnesses, found, &mut done);
                    (done, result.err())
                })
            })
            .collect();
        jobs.into_iter().filter_map(|job| job.join().ok()).collect()
    });
    for (n, harness) in harnesses.iter().enumerate() {
        let done = results.iter().map(|(done, _)| done[n]);
        let (executions, time) = done.fold((0, Duration::ZERO), |a, b| (a.0 + b.0, a.1 + b.1));
        println!(
            "{:<10} {executions:>12} executions, {:>9.0} a second on one core",
            harness.name,
            executions as f64 / time.as_secs_f64()
        );
    }
    let findings: Vec<Finding> = results
        .into_iter()
        .filter_map(|(_, finding)| finding)
        .collect();
    for finding in &findings {
        println!("\n{}: {}", finding.harness, finding.message);
        println!("{}", replay(finding.harness, &finding.input));
    }
    ExitCode::from(u8::from(!findings.is_empty()))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    pairs
        .collect::<Option<_>>()
        .filter(|_| hex.len().is_multiple_of(2))
}
