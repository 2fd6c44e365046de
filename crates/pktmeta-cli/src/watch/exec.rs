//! `pktmeta exec`

use super::{
    cgroup::Cgroup,
    check_up,
    log::{Log, LogOptions},
    signals::{self, Signals},
    source::Source,
};
use crate::output;
use anyhow::{Context, anyhow, bail};
use pktmeta_bpf::host;
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus},
};

/// Run a program, and log the record of each connection that it accepts or opens
///
/// The program knows nothing of it. It runs in a cgroup of its own, of which nothing is left when it ends.
/// Exits as the program does, with 127 if there is no such program; signals go to the program.
/// Of a connection this is the record of the segment that opened it.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta exec --log nginx.log -- nginx -g 'daemon off;'")]
pub(crate) struct Exec {
    /// File to log to, - for the standard output [default: the standard error]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    options: LogOptions,
    /// Cgroup (v2) below which the program's is made [default: that of this command]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// The program, and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

impl Exec {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let [program, arguments @ ..] = &self.program[..] else {
            bail!("no program is given");
        };
        check_up(bpffs)?;
        let mut log = Log::new(open(self.log.as_deref())?, &self.options);
        let parent = match self.cgroup {
            Some(path) => path,
            None => host::cgroup_of("self")?,
        };
        // First of all: what is made must be removed again.
        let signals = Signals::hold().context("hold signals back")?;
        let cgroup = Cgroup::create(&parent)?;
        let mut source = Source::new(cgroup.directory(), self.options.datagrams, bpffs)?;
        let mut command = Command::new(program);
        command.args(arguments);
        // SAFETY: they do nothing but write(2) and sigprocmask(2), which are async-signal-safe.
        unsafe {
            command.pre_exec(cgroup.join());
            command.pre_exec(signals.let_through());
        }
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let program = output::name(program);
                output::complain(&format!(
                    "error: run {program}: {error}\n  = give the path of a program\n"
                ));
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                return Ok(ExitCode::from(if is_missing { 127 } else { 126 }));
            }
        };
        let status = follow(child, &signals, &mut source, &mut log)?;
        source.end(&mut log)?;
        drop(cgroup);
        Ok(exit_as(status, signals))
    }
}

/// Opens what is logged to.
fn open(log: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    Ok(match log {
        None => Box::new(io::stderr()),
        Some(dash) if dash == Path::new("-") => Box::new(io::stdout()),
        Some(file) => {
            let created = File::create(file).map_err(|error| {
                let file = output::name(file);
                anyhow!(
                    "create the log {file}: {error}\n  = name a file in a directory that is there"
                )
            });
            Box::new(created?)
        }
    })
}

/// Logs and passes signals on until the program ends.
fn follow(
    mut child: Child,
    signals: &Signals,
    source: &mut Source<'_>,
    log: &mut Log,
) -> anyhow::Result<ExitStatus> {
    loop {
        let waited = signals::wait([signals.as_fd(), source.as_fd()], Source::LOOK);
        waited.context("wait for the program")?;
        source.log(log)?;
        if let Some(failure) = log.failure() {
            // The program goes on.
            output::complain_of(&failure.into());
        }
        for signal in signals.arrived() {
            signal.pass_to(&child);
        }
        if let Some(status) = child.try_wait().context("wait for the program")? {
            return Ok(status);
        }
    }
}

/// Ends as the program did.
fn exit_as(status: ExitStatus, signals: Signals) -> ExitCode {
    if let Some(code) = status.code() {
        return ExitCode::from(code as u8); // the low 8 bits are all that there is of it
    }
    let signal = status.signal().unwrap_or(libc::SIGKILL);
    signals.die_of(signal);
    ExitCode::from(128u8.wrapping_add(signal as u8)) // signals are below 128
}
