//! `pktmeta watch`

use crate::events::{
    log::{Log, LogOptions},
    signals::{self, Signals},
    source::{Source, check_up},
};
use anyhow::{Context, bail};
use pktmeta_bpf::host;
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Log the record of each connection that running programs accept or open
///
/// They know nothing of it. It watches the sockets of a cgroup, such as that of a systemd service,
/// and of the cgroups below, until it is interrupted. A socket belongs to the cgroup in which its
/// program was when it made it; connections to that of the listener.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta watch --pid $(pidof -s nginx)")]
#[group(id = "what", required = true, multiple = false, args = ["cgroup", "pid"])]
pub(crate) struct Watch {
    /// Cgroup (v2) to watch
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Watch the cgroup of this process
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    options: LogOptions,
}

impl Watch {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        check_up(bpffs)?;
        let cgroup = match (self.cgroup, self.pid) {
            (Some(path), _) => path,
            (None, Some(pid)) => host::cgroup_of(&pid.to_string())?,
            (None, None) => bail!("nothing to watch is given"),
        };
        let signals = Signals::hold().context("hold signals back")?;
        let mut log = Log::new(Box::new(io::stdout()), &self.options);
        let cgroup = host::open_cgroup(&cgroup)?;
        let mut source = Source::new(&cgroup, self.options.datagrams, bpffs)?;
        while log.is_open() && !signals.arrived().any(|signal| signal.ends()) {
            let waited = signals::wait([signals.as_fd(), source.as_fd()], Source::LOOK);
            waited.context("wait for something")?;
            source.log(&mut log)?;
        }
        source.end(&mut log)?;
        match log.failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
