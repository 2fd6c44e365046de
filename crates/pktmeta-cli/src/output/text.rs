//! Text that goes to the standard output and the standard error.

use pktmeta_core::{
    printable,
    schema::{SchemaError, TextError},
};
use std::{
    error::Error,
    ffi::OsStr,
    fmt,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
};

/// Prints a line to the standard output, formatted as by `println!`.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::output::print(&(format!($($arguments)*) + "\n")) };
}

/// Prints a line to the standard error, as far as that can be: about what the command goes on
/// after.
macro_rules! remark {
    ($($arguments:tt)*) => {
        $crate::output::complain(&format!("pktmeta: {}\n", format_args!($($arguments)*)))
    };
}

pub(crate) use {remark, say};

/// Prints text, at once and whole.
pub(crate) fn print(text: &str) -> Result<(), Unwritten> {
    print_as_it_is(&printable::text(text))
}

/// Prints the text of a file, which is a file of ours: escaped it would be another.
pub(crate) fn print_as_it_is(text: &str) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| Unwritten::new("the standard output", error))
}

/// A name of others, a path for one, in one line.
pub(crate) fn name(name: &(impl AsRef<OsStr> + ?Sized)) -> String {
    printable::name(name.as_ref().as_bytes())
}

/// Says what went wrong, and with which code to exit: if the reader has gone with the one that a
/// shell makes of SIGPIPE, by which other tools end then.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    match complain_of(error) {
        true => ExitCode::FAILURE,
        false => ExitCode::from(128 + libc::SIGPIPE as u8),
    }
}

/// Says what went wrong, unless that is that the reader has gone, of which nobody wants to know.
pub(crate) fn complain_of(error: &anyhow::Error) -> bool {
    let unwritten = error.downcast_ref::<Unwritten>();
    let is_news = unwritten.is_none_or(|it| it.error.kind() != io::ErrorKind::BrokenPipe);
    if is_news {
        complain(&format!("error: {error:#}{}\n", remedy(error)));
    }
    is_news
}

/// What to do about an error of a library, in a line of its own. The command's own errors end with
/// such a line already.
fn remedy(error: &anyhow::Error) -> String {
    let remedy = error.chain().find_map(remedy_of);
    remedy.map_or_else(String::new, |remedy| format!("\n  = {remedy}"))
}

fn remedy_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    let bpf = || error.downcast_ref().and_then(pktmeta_bpf::Error::remedy);
    let schema = || error.downcast_ref().map(SchemaError::remedy);
    let text = || error.downcast_ref().map(TextError::remedy);
    let generated = || error.downcast_ref().map(pktmeta_codegen::Error::remedy);
    #[cfg(feature = "demo")]
    let socket = || error.downcast_ref().and_then(pktmeta::Error::remedy);
    #[cfg(not(feature = "demo"))]
    let socket = || None;
    let remedy = bpf().or_else(schema).or_else(text);
    remedy.or_else(generated).or_else(socket)
}

/// Prints to the standard error. Nothing is left to do if that cannot be written.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(printable::text(text).as_bytes());
}

/// What is printed could not be written. All that the command is for besides, it did.
#[derive(Debug)]
pub(crate) struct Unwritten {
    to: &'static str,
    error: io::Error,
}

impl Unwritten {
    pub(crate) fn new(to: &'static str, error: io::Error) -> Self {
        Self { to, error }
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, error } = self;
        let remedy = "make room there; what the command did besides stays";
        write!(f, "write to {to}: {error}\n  = {remedy}")
    }
}

impl std::error::Error for Unwritten {}
