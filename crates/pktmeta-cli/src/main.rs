//! The `pktmeta` command: a thin layer over the crates.

mod bind;
mod check;
mod datapath;
mod decode;
mod demo;
mod doctor;
mod encode;
mod files;
mod r#gen;
mod output;
mod registry;
mod sockets;
#[cfg(test)]
#[path = "../../pktmeta-core/vectors/mod.rs"]
mod vectors;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Packet metadata from XDP to applications.
///
/// Labels packets with named, typed fields as they arrive, and lets every later layer read them:
/// TC, and the TCP or UDP application.
#[derive(Parser)]
#[command(name = "pktmeta", version, max_term_width = 100)]
struct Arguments {
    /// Where bpffs is mounted, or to be mounted
    #[arg(long, global = true, env = "PKTMETA_BPFFS", default_value = pktmeta_bpf::host::BPFFS)]
    bpffs: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(datapath::Up),
    Down(datapath::Down),
    Status(datapath::Status),
    Sockets(sockets::Sockets),
    Watch(watch::Watch),
    Exec(watch::exec::Exec),
    Registry(registry::Registry),
    Bind(bind::Bind),
    Doctor(doctor::Doctor),
    Demo(demo::Demo),
    Check(check::Check),
    Encode(encode::Encode),
    Decode(decode::Decode),
    Gen(r#gen::Gen),
    /// Print the completions of a shell
    #[command(after_help = "Example: pktmeta completions bash > /etc/bash_completion.d/pktmeta")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Directory to write them to
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { bpffs, command } = arguments;
    match command {
        Command::Up(up) => up.run(&bpffs),
        Command::Down(down) => down.run(&bpffs),
        Command::Status(status) => status.run(&bpffs),
        Command::Sockets(sockets) => sockets.run(&bpffs),
        Command::Watch(watch) => watch.run(&bpffs),
        Command::Exec(exec) => exec.run(&bpffs),
        Command::Registry(registry) => registry.run(&bpffs),
        Command::Bind(bind) => bind.run(&bpffs),
        Command::Doctor(doctor) => doctor.run(&bpffs),
        Command::Demo(demo) => demo.run(&bpffs),
        Command::Check(check) => check.run(),
        Command::Encode(encode) => encode.run(&bpffs),
        Command::Decode(decode) => decode.run(&bpffs),
        Command::Gen(generate) => generate.run(&bpffs),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "pktmeta",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => {
            std::fs::create_dir_all(&directory)?;
            clap_mangen::generate_to(Arguments::command(), &directory)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
