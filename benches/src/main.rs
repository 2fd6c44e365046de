//! What pktmeta costs: `cargo xtask bench`. README.md says what is measured and how.

mod bpf;
mod effort;
mod host;
mod lab;
mod output;
mod programs;
mod record;
mod samples;
mod sockets;
mod sys;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use effort::Effort;
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};
use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode},
};

/// Measure what pktmeta costs
///
/// Everything is measured in several rounds, and every round measures everything: what is compared
/// ran side by side. Needs root. Runs on hosts of its own and leaves nothing behind.
#[derive(Parser)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
struct Arguments {
    /// What to measure; everything if left out
    #[arg(value_name = "NAME")]
    bench: Option<Bench>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    effort: Effort,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Bench {
    /// Nanoseconds that each BPF program adds to a packet
    Programs,
    /// What applications see: datagrams and connections per second, reading a record, memory
    Sockets,
    /// Nanoseconds of each operation on a record in BPF, beside a raw struct, traits and hash maps
    Record,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match Sandbox::current() {
        Some(sandbox) => arguments.run(&sandbox).map(|()| ExitCode::SUCCESS),
        None => run_in_sandbox(),
    }
}

impl Arguments {
    fn run(&self, sandbox: &Sandbox) -> anyhow::Result<()> {
        if pktmeta::info(std::net::UdpSocket::bind(("127.0.0.1", 0))?).is_ok() {
            bail!(
                "a datapath delivers records to this process already, and would be measured too\n  \
                 = run `pktmeta down` first"
            );
        }
        let host = host::Host::new();
        sys::stay_on_one_cpu().context("stay on one CPU")?;
        if !self.json {
            let Effort { rounds, seconds } = self.effort;
            host.print();
            println!(
                "{rounds} rounds, {} s of each traffic\n",
                seconds.as_secs_f64()
            );
        }
        let wanted = |bench| self.bench.is_none_or(|chosen| chosen == bench);
        let mut json = json!({
            "host": host.to_json(),
            "rounds": self.effort.rounds,
            "seconds": self.effort.seconds.as_secs_f64(),
        });
        let mut show = |name: &str, value: Value| json[name] = value;
        if wanted(Bench::Programs) {
            let programs = programs::measure(sandbox, self.effort)?;
            if !self.json {
                programs.print();
            }
            show("programs", programs.to_json());
        }
        if wanted(Bench::Sockets) {
            let sockets = sockets::measure(sandbox, self.effort)?;
            if !self.json {
                sockets.print();
            }
            show("sockets", sockets.to_json());
        }
        if wanted(Bench::Record) {
            let record = record::measure(self.effort)?;
            if !self.json {
                record.print();
            }
            show("record", record.to_json());
        }
        if self.json {
            println!("{json}");
        }
        Ok(())
    }
}

/// Runs this same command in a sandbox: what it makes goes with it, even if it is killed.
fn run_in_sandbox() -> anyhow::Result<ExitCode> {
    pktmeta_testkit::root::require().context("start the benchmarks")?;
    let this = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(this);
    command.args(std::env::args_os().skip(1));
    // Applications look for the ring there; that of the sandbox is where it is by custom.
    command.env_remove("PKTMETA_BPFFS");
    let status = Sandbox::run(&mut command).context("start the benchmarks in a sandbox")?;
    let code = match status.code() {
        Some(code) => code,
        // As a shell reports it.
        None => 128 + status.signal().unwrap_or(0),
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_benchmark_is_chosen_by_its_name() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        let arguments = parse("bench sockets --json --rounds 3 --seconds 0.5").unwrap();
        assert!(arguments.bench == Some(Bench::Sockets) && arguments.json);
        assert_eq!(arguments.effort.rounds, 3);
        assert_eq!(arguments.effort.seconds, Duration::from_millis(500));
        assert!(parse("bench").unwrap().bench.is_none());
        for wrong in ["bench socket", "bench --rounds 0", "bench --seconds nan"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
