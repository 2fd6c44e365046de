//! `pktmeta exec`

use crate::{
    events::{
        cgroup::Cgroup,
        log::{Log, LogOptions},
        signals::{self, Signal, Signals},
        source::{Source, check_up},
    },
    output::{self, remark},
};
use anyhow::{Context, anyhow, bail};
use pktmeta_bpf::host;
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    ops::ControlFlow,
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus},
};

/// Run a program, and log the record of each connection that it accepts or opens
///
/// The program knows nothing of it. It runs in a cgroup of its own, of which nothing is left when
/// it ends. A program that puts itself into the background is followed there, until the last of its
/// processes ends. Exits as the program does, with 127 if there is no such program; signals go to
/// the program, in the background to all of its processes. Of a connection this is the record of
/// the segment that opened it.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta exec --log nginx.log -- nginx")]
pub(crate) struct Exec {
    /// File to log to, - for the standard output [default: the standard error]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    options: LogOptions,
    /// Cgroup (v2) below which the program's is made [default: that of this command]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// End when the program does, also if processes of it go on in the background
    #[arg(long)]
    no_follow: bool,
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
        // Signals come first: everything that is made must be removed again.
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
        let mut run = Run::Foreground(child);
        let status = loop {
            let waited = signals::wait([signals.as_fd(), source.as_fd()], Source::LOOK);
            waited.context("wait for the program")?;
            source.log(&mut log)?;
            if let Some(failure) = log.failure() {
                // The program goes on.
                output::complain_of(&failure.into());
            }
            for signal in signals.arrived() {
                run.pass(&signal, &cgroup);
            }
            run = match run.next(&cgroup, !self.no_follow)? {
                ControlFlow::Continue(run) => run,
                ControlFlow::Break(status) => break status,
            };
        };
        source.end(&mut log)?;
        drop(cgroup);
        Ok(exit_as(status, signals))
    }
}

/// Opens the log.
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

/// The program while it runs.
enum Run {
    Foreground(Child),
    /// It has ended, and left processes behind.
    Background(ExitStatus),
}

impl Run {
    fn pass(&self, signal: &Signal, cgroup: &Cgroup) {
        match self {
            Self::Foreground(child) => signal.pass_to(child),
            Self::Background(_) => cgroup.processes().for_each(|it| signal.send_to(it)),
        }
    }

    /// The program's next state, or its end. A program that ends well and leaves processes behind
    /// has put itself into the background.
    fn next(self, cgroup: &Cgroup, follow: bool) -> anyhow::Result<ControlFlow<ExitStatus, Self>> {
        match self {
            Self::Foreground(mut child) => {
                let Some(status) = child.try_wait().context("wait for the program")? else {
                    return Ok(ControlFlow::Continue(Self::Foreground(child)));
                };
                if cgroup.is_empty() {
                    return Ok(ControlFlow::Break(status));
                }
                if follow && status.success() {
                    remark!(
                        "the program goes on in the background; this ends when its last process \
                         does (--no-follow: with the program)"
                    );
                    return Ok(ControlFlow::Continue(Self::Background(status)));
                }
                remark!("processes of the program go on in the background, and are logged no more");
                Ok(ControlFlow::Break(status))
            }
            Self::Background(status) => Ok(match cgroup.is_empty() {
                true => ControlFlow::Break(status),
                false => ControlFlow::Continue(self),
            }),
        }
    }
}

/// The exit code of the program; a signal that ended it ends this command too.
fn exit_as(status: ExitStatus, signals: Signals) -> ExitCode {
    if let Some(code) = status.code() {
        return ExitCode::from(code as u8); // the low 8 bits are all that there is of it
    }
    let signal = status.signal().unwrap_or(libc::SIGKILL);
    signals.die_of(signal);
    ExitCode::from(128u8.wrapping_add(signal as u8)) // signals are below 128
}
