//! Sends packets over every path until there were as many as it is told: `cargo xtask paths`.

use clap::Parser;
use pktmeta_paths::{Options, Verdict, run};
use pktmeta_testkit::sandbox::Sandbox;
use std::{io::IsTerminal, process::ExitCode};

/// Send real packets over every path that this kernel has, and check each field at each hop
///
/// Prints a row for each path. The exit status is 1 if a value was wrong. Needs root. Runs on hosts
/// of its own and leaves nothing behind.
#[derive(Parser)]
#[command(name = "cargo xtask paths", max_term_width = 100)]
struct Arguments {
    /// How many packets, at least
    #[arg(long, default_value_t = 20_000)]
    packets: u64,
    /// Of the first round; other numbers make other schemas, sequences and packets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many packets share a schema and sequences
    #[arg(long, default_value_t = 5_000)]
    round: u64,
    /// Leave in buffers what earlier packets left there, and let others grow into it: fails, by
    /// what docs/limitations.md says
    #[arg(long)]
    unwiped: bool,
    /// Only paths whose names contain this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match Sandbox::current() {
        Some(sandbox) => arguments.run(&sandbox),
        None => Ok(Sandbox::run_this_program()?),
    }
}

impl Arguments {
    fn run(self, sandbox: &Sandbox) -> anyhow::Result<ExitCode> {
        println!("--seed {} --round {}", self.seed, self.round);
        let options = Options {
            packets: self.packets,
            seed: self.seed,
            round: self.round,
            only: self.only,
            unwiped: self.unwiped,
            ..Options::default()
        };
        let report = run(sandbox, &options, |report| {
            if std::io::stderr().is_terminal() {
                let wrong = report.total(Verdict::Wrong);
                eprint!("\r{} packets, {wrong} wrong ", report.packets());
            }
        })?;
        println!("{report}");
        Ok(ExitCode::from(u8::from(report.total(Verdict::Wrong) > 0)))
    }
}
