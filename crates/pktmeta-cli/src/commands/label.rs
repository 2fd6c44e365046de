//! `pktmeta label`

use crate::{
    arguments::{Wait, read_labels},
    complete,
    output::say,
};
use anyhow::bail;
use clap_complete::ArgValueCandidates;
use pktmeta_bpf::{
    Datapath, InterfaceChanged,
    labels::{Change, Changed, Label, Removal},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Change labels while packets are labelled
///
/// No packet is without labels meanwhile, and none gets any but those of before or of after. Where
/// one label is wrong, none changes.
#[derive(clap::Args)]
pub(crate) struct Labels {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Print the labels, as `replace` reads them
    List {
        #[command(flatten)]
        on: On,
    },
    /// Add labels, or give prefixes other values
    Add {
        #[command(flatten)]
        labels: Given,
        #[command(flatten)]
        on: On,
    },
    /// Remove labels
    Del {
        /// A prefix with all its labels, or the label of one field
        #[arg(value_name = "PREFIX[=FIELD]", required = true)]
        labels: Vec<Removal>,
        #[command(flatten)]
        on: On,
    },
    /// Remove all labels but these
    #[command(
        after_help = "Example: pktmeta label list | sed s/tenant:7/tenant:8/ | pktmeta label \
                            replace --labels -"
    )]
    Replace {
        #[command(flatten)]
        labels: Given,
        #[command(flatten)]
        on: On,
    },
}

/// Labels in arguments and files.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Given {
    /// Value for packets whose source address is in a prefix
    #[arg(value_name = "PREFIX=FIELD:VALUE")]
    label: Vec<Label>,
    /// File with such values, one a line, - for the standard input; may be given more than once
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
}

impl Given {
    fn read(self) -> anyhow::Result<Vec<Label>> {
        let mut all = self.label;
        for file in &self.labels {
            all.extend(read_labels(file)?);
        }
        Ok(all)
    }
}

/// The interfaces.
#[derive(clap::Args)]
struct On {
    /// Interface whose packets are labelled [default: every one that is up]
    #[arg(long, value_name = "IF", add = ArgValueCandidates::new(complete::interfaces))]
    iface: Option<OsString>,
    #[command(flatten)]
    wait: Wait,
}

impl Labels {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let (change, on) = match self.what {
            What::List { on } => return list(bpffs, &on),
            What::Add { labels, on } => (Change::Add(labels.read()?), on),
            What::Del { labels, on } => (Change::Remove(labels), on),
            What::Replace { labels, on } => (Change::Replace(labels.read()?), on),
        };
        let datapath = Datapath::new(bpffs).waiting(on.wait.duration());
        for InterfaceChanged {
            interface, changed, ..
        } in datapath.change_labels(on.iface.as_deref(), &change)?
        {
            let Changed {
                added,
                changed,
                removed,
                prefixes,
                ..
            } = changed;
            say!(
                "{interface}: {added} prefixes added, {changed} changed, {removed} removed; \
                 {prefixes} have labels"
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists labels that all interfaces share once: `replace` can give the list to all of them.
fn list(bpffs: &Path, on: &On) -> anyhow::Result<ExitCode> {
    let mut all = Datapath::new(bpffs).labels(on.iface.as_deref())?;
    let Some(first) = all.pop() else {
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(other) = all.iter().find(|other| other.labels != first.labels) {
        bail!(
            "list the labels of all interfaces: those of {} and {} differ\n  \
             = name one with --iface",
            other.interface,
            first.interface
        );
    }
    for label in &first.labels {
        say!("{label}")?;
    }
    Ok(ExitCode::SUCCESS)
}
