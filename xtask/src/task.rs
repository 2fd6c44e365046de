//! The commands and their arguments.

use std::ffi::OsString;

use crate::error::{Error, Result};

pub(crate) const HELP: &str = "\
cargo xtask COMMAND

  demo  [-- ARGS]      build and run `pktmeta demo ARGS`
  test  [-- ARGS]      run all tests, as root; ARGS go to cargo test
  bench [NAME] [ARGS]  build and run the benchmarks
  fuzz  [ARGS]         feed both codecs, C and Rust, the same until they differ
  mutants c [TEXT]     change a line of C at a time: does a test notice? (hours)
  mutants rust [GROUP] [ARGS]
                       the same of Rust: core, codegen, pktmeta, host, or all; ARGS go to
                       cargo-mutants, such as --shard 0/8
  docs [WORD...]       run each command of the pages in a bare Debian (half an hour), or of those
                       in whose test's name a word is; --resume: of those that have not passed
  paths [ARGS]         send real packets over every path, and check each field at each hop
  circles              print which files of a crate import each other in a circle
  check [NAME...]      what must hold and is no test; a name that is none lists them
  api [--write]        compare the public API with the api.txt files, or write these
  setup                only install what these need
  help                 this text

All of them install what they need themselves: with apt-get, as root.
";

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Help,
    Setup,
    Check(Vec<OsString>),
    Api(Vec<OsString>),
    Circles,
    Docs(Vec<OsString>),
    Test(Vec<OsString>),
    Demo(Vec<OsString>),
    Bench(Vec<OsString>),
    Fuzz(Vec<OsString>),
    Mutants(Vec<OsString>),
    Paths(Vec<OsString>),
}

impl Task {
    /// Understands the arguments after the name of the program. None at all ask for help.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let Some(command) = arguments.next() else {
            return Ok(Self::Help);
        };
        let arguments = passed_on(arguments);
        match command.to_str() {
            Some("test") => Ok(Self::Test(arguments)),
            Some("demo") => Ok(Self::Demo(arguments)),
            Some("bench") => Ok(Self::Bench(arguments)),
            Some("fuzz") => Ok(Self::Fuzz(arguments)),
            Some("mutants") => Ok(Self::Mutants(arguments)),
            Some("paths") => Ok(Self::Paths(arguments)),
            Some("check") => Ok(Self::Check(arguments)),
            Some("api") => Ok(Self::Api(arguments)),
            Some("circles") => Self::Circles.without(&arguments),
            Some("docs") => Ok(Self::Docs(arguments)),
            Some("setup") => Self::Setup.without(&arguments),
            Some("help" | "--help" | "-h") => Ok(Self::Help),
            _ => Err(Error::new(format!(
                "there is no command `{}`; this is what there is:\n\n{HELP}",
                command.display()
            ))),
        }
    }

    /// Refuses arguments: they would be lost.
    fn without(self, arguments: &[OsString]) -> Result<Self> {
        match arguments.first() {
            None => Ok(self),
            Some(first) => Err(Error::new(format!(
                "this command takes no arguments, but got `{}`; see `cargo xtask help`",
                first.display()
            ))),
        }
    }
}

/// What a command hands to another program. The `--` before it may be left out; a second one is
/// that program's own.
fn passed_on(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.peekable();
    arguments.next_if(|first| first == "--");
    arguments.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task> {
        Task::parse(line.split_whitespace().map(OsString::from))
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn nothing_asks_for_help() {
        assert_eq!(parse("").unwrap(), Task::Help);
        assert_eq!(parse("--help").unwrap(), Task::Help);
    }

    #[test]
    fn arguments_go_to_the_demo_with_and_without_dashes() {
        let demo = Task::Demo(words("--datagrams 1000 --json"));
        assert_eq!(parse("demo -- --datagrams 1000 --json").unwrap(), demo);
        assert_eq!(parse("demo --datagrams 1000 --json").unwrap(), demo);
        assert_eq!(parse("demo").unwrap(), Task::Demo(Vec::new()));
    }

    #[test]
    fn only_the_first_dashes_are_taken() {
        assert_eq!(
            parse("test -- -p pktmeta-core -- --nocapture").unwrap(),
            Task::Test(words("-p pktmeta-core -- --nocapture"))
        );
        assert_eq!(
            parse("test -- -- --nocapture").unwrap(),
            Task::Test(words("-- --nocapture"))
        );
    }

    #[test]
    fn a_benchmark_is_named() {
        assert_eq!(
            parse("bench xdp --seconds 1").unwrap(),
            Task::Bench(words("xdp --seconds 1"))
        );
    }

    #[test]
    fn a_fuzzer_takes_arguments() {
        assert_eq!(
            parse("fuzz --seconds 60").unwrap(),
            Task::Fuzz(words("--seconds 60"))
        );
    }

    #[test]
    fn paths_take_arguments() {
        assert_eq!(
            parse("paths --packets 1000000").unwrap(),
            Task::Paths(words("--packets 1000000"))
        );
    }

    #[test]
    fn an_unknown_command_is_answered_with_all_there_are() {
        let error = parse("dmeo").unwrap_err().to_string();
        assert!(error.contains("`dmeo`"), "{error}");
        assert!(error.contains(HELP), "{error}");
    }

    #[test]
    fn arguments_are_not_lost_silently() {
        let error = parse("setup all").unwrap_err().to_string();
        assert!(error.contains("`all`"), "{error}");
    }
}
