//! The `pktmeta` command: a thin layer over the crates.

// All that is printed goes through `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod clock;
mod commands;
mod complete;
mod events;
mod files;
mod output;
#[cfg(test)]
#[path = "../../pktmeta-core/vectors/mod.rs"]
mod vectors;

use clap::{CommandFactory, Parser, Subcommand};
use commands::{
    bind, check, decode, doctor, down, encode, exec, r#gen, headers, label, man, registry, sockets,
    status, up, watch,
};
#[cfg(feature = "demo")]
use commands::{demo, r#where};
use pktmeta_core::{pins, printable};
use std::{ffi::OsString, path::PathBuf, process::ExitCode};

/// Packet metadata from XDP to applications.
///
/// Labels packets with named, typed fields as they arrive, and lets every later layer read them:
/// TC, and the TCP or UDP application.
#[derive(Parser)]
#[command(name = "pktmeta", version, max_term_width = 100)]
struct Arguments {
    /// Where bpffs is mounted, or to be mounted
    #[arg(long, global = true, env = pins::BPFFS_VARIABLE, default_value = pins::BPFFS)]
    bpffs: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    Label(label::Labels),
    Sockets(sockets::Sockets),
    Watch(watch::Watch),
    Exec(exec::Exec),
    Registry(registry::Registry),
    Bind(bind::Bind),
    Doctor(doctor::Doctor),
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    #[cfg(feature = "demo")]
    Where(r#where::Where),
    Check(check::Check),
    Encode(encode::Encode),
    Decode(decode::Decode),
    Gen(r#gen::Gen),
    Headers(headers::Headers),
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
    complete::answer(Arguments::command);
    let ended = match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(error) => explain(&error),
    };
    ended.unwrap_or_else(|error| output::fail(&error))
}

/// Prints the help that was asked for, or what is wrong with the arguments: in colours where there
/// are any, unless an argument has some of its own.
fn explain(error: &clap::Error) -> anyhow::Result<ExitCode> {
    let plain = error.render().to_string();
    let given = std::env::args_os().chain(std::env::var_os(pins::BPFFS_VARIABLE));
    let is_printable = |text: OsString| text.to_str().is_some_and(printable::is_text);
    match (given.into_iter().all(is_printable), error.use_stderr()) {
        // Nothing is left to do if the standard error cannot be written.
        (true, true) => drop(error.print()),
        (true, false) => {
            let unwritten = |error| output::Unwritten::new("the standard output", error);
            error.print().map_err(unwritten)?;
        }
        (false, true) => output::complain(&plain),
        (false, false) => output::print(&plain)?,
    }
    Ok(ExitCode::from(error.exit_code() as u8)) // 0 or 2
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { bpffs, command } = arguments;
    match command {
        Command::Up(up) => up.run(&bpffs),
        Command::Down(down) => down.run(&bpffs),
        Command::Status(status) => status.run(&bpffs),
        Command::Label(label) => label.run(&bpffs),
        Command::Sockets(sockets) => sockets.run(&bpffs),
        Command::Watch(watch) => watch.run(&bpffs),
        Command::Exec(exec) => exec.run(&bpffs),
        Command::Registry(registry) => registry.run(&bpffs),
        Command::Bind(bind) => bind.run(&bpffs),
        Command::Doctor(doctor) => doctor.run(&bpffs),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(&bpffs),
        #[cfg(feature = "demo")]
        Command::Where(r#where) => r#where.run(),
        Command::Check(check) => check.run(),
        Command::Encode(encode) => encode.run(&bpffs),
        Command::Decode(decode) => decode.run(&bpffs),
        Command::Gen(generate) => generate.run(&bpffs),
        Command::Headers(headers) => headers.run(),
        Command::Completions { shell } => {
            output::print_as_it_is(&complete::script(shell)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => {
            man::write(Arguments::command(), &directory)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
