//! What a person or CI does with this repository: `cargo xtask help`.
//!
//! Each command first installs what it needs, so that a clone and one command are enough.

mod check;
mod docs;
mod error;
mod launch;
mod mutants;
mod setup;
mod task;
mod test;
mod tool;

use std::env;
use std::process::ExitCode;

use error::Result;
use task::Task;

fn main() -> ExitCode {
    match Task::parse(env::args_os().skip(1)).and_then(perform) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Help => print!("{}", task::HELP),
        Task::Setup => setup::everything()?,
        Task::Check(names) => check::run(&names)?,
        Task::Api(arguments) => launch::api(&arguments)?,
        Task::Circles => launch::circles()?,
        Task::Test(arguments) => return test::run(&arguments),
        Task::Demo(arguments) => launch::demo(&arguments)?,
        Task::Bench(arguments) => launch::bench(&arguments)?,
        Task::Fuzz(arguments) => launch::fuzz(&arguments)?,
        Task::Mutants(arguments) => return mutants::run(&arguments),
        Task::Docs(arguments) => docs::run(&arguments)?,
        Task::Paths(arguments) => launch::paths(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
