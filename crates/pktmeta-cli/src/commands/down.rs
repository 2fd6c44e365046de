//! `pktmeta down`

use crate::{
    arguments::Wait,
    complete,
    output::{self, say},
};
use clap_complete::ArgValueCandidates;
use pktmeta_bpf::{Datapath, HostRegistry, Part};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Detach from an interface or a cgroup, or from all
///
/// What is named goes, and nothing else: cgroups are delivered to without an interface too. With
/// the last part everything of pktmeta goes, but for fields that were registered to stay (`pktmeta
/// registry`). Applications that go on reading get "unavailable". If it is killed, the next `down`
/// or `up` finishes it.
#[derive(clap::Args)]
pub(crate) struct Down {
    /// Interface to detach from [default: everything]
    #[arg(long, value_name = "IF", add = ArgValueCandidates::new(complete::interfaces))]
    iface: Option<OsString>,
    /// Cgroup to deliver to no more
    #[arg(long, value_name = "PATH", conflicts_with = "iface")]
    cgroup: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

impl Down {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let part = match (&self.iface, &self.cgroup) {
            (Some(interface), _) => Part::Interface(interface),
            (None, Some(cgroup)) => Part::Cgroup(cgroup),
            (None, None) => Part::Everything,
        };
        let datapath = Datapath::new(bpffs).waiting(self.wait.duration());
        let down = datapath.down(part)?;
        for part in &down.parts {
            say!("{part}: detached")?;
        }
        for path in &down.left {
            let path = output::name(path);
            say!("{path}: left where it is: pktmeta did not make it")?;
        }
        if !down.everything {
            say!("the rest stays: see `pktmeta status`")?;
            return Ok(ExitCode::SUCCESS);
        }
        let stays = what_stays(bpffs)?;
        match (down.parts.is_empty(), &stays) {
            (true, _) => say!("nothing was up"),
            (false, None) => say!("everything of pktmeta is removed"),
            (false, Some(_)) => say!("the datapath is removed"),
        }?;
        if let Some(stays) = stays {
            say!("{stays}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A note on the pins that `pktmeta down` leaves; `None` if it leaves none.
fn what_stays(bpffs: &Path) -> anyhow::Result<Option<String>> {
    let host = HostRegistry::new(bpffs);
    if !host.exists()? {
        return Ok(None);
    }
    let registry = host.read()?;
    let names: Vec<_> = registry
        .fields()
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    Ok(Some(match names.is_empty() {
        true if host.users().is_err() => {
            "the registry stays: only with CAP_SYS_ADMIN can one see whether a program uses it"
                .into()
        }
        true => {
            "loaded programs are bound to fields of it: `pktmeta registry list --retired`".into()
        }
        false => format!(
            "registered to stay: {}; `pktmeta registry remove` removes them",
            names.join(", ")
        ),
    }))
}
