//! `pktmeta up`

use crate::{
    arguments::{Wait, read_labels, read_schema},
    complete,
    output::{self, say},
};
use clap_complete::ArgValueCandidates;
use pktmeta_bpf::{AttachMode, Datapath, Senders, UpOptions, labels::Label};
use pktmeta_core::builtin;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Label the packets of an interface and deliver their records to sockets
///
/// It stays when the command ends, until `pktmeta down`. If something fails, nothing stays.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta up --iface eth0 --schema edge.toml \
    --label 192.0.2.0/24=tenant:7 --label 2001:db8::/32=tenant:8")]
pub(crate) struct Up {
    /// Interface whose packets are labelled, by any of its names; may be given more than once
    #[arg(long, value_name = "IF", required_unless_present = "cgroup",
        add = ArgValueCandidates::new(complete::interfaces))]
    iface: Vec<OsString>,
    /// Cgroup (v2) whose sockets get records, with a ring of its own, which belongs to the owner of
    /// its directory [default: those that get them already, else the root, that is all sockets]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Users of the cgroup that may label what they send: all, none, or their numbers with commas
    /// between
    #[arg(long, value_name = "USERS", default_value = "all", value_parser = senders)]
    send: Senders,
    /// Schema file with fields of yours; may be given more than once
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// Value for packets whose source address is in a prefix; may be given more than once
    #[arg(long, value_name = "PREFIX=FIELD:VALUE", value_parser = label)]
    label: Vec<Label>,
    /// File with such values, one a line, - for the standard input; may be given more than once
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Built-in fields to write: all, none, or their names with commas between. rx_timestamp and
    /// packet_number keep GRO from merging packets, flow_hash takes a program at TC
    #[arg(long, value_name = "FIELDS", default_value_t = UpOptions::PRODUCE.join(","))]
    produce: String,
    /// How XDP attaches: in the driver, or after it [default: in the driver if it can]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Slots for records of datagrams that wait to be read, a power of two; each CPU has an equal
    /// part
    #[arg(long, default_value_t = UpOptions::SLOTS)]
    slots: u32,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// In the driver
    Native,
    /// After the driver: works on every interface, slower
    Generic,
}

impl Up {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let Self {
            iface,
            cgroup,
            send,
            schema,
            label,
            labels,
            produce,
            mode,
            slots,
            wait,
        } = self;
        let looks_up = !(label.is_empty() && labels.is_empty());
        let mut all_labels = label;
        for file in &labels {
            all_labels.extend(read_labels(file)?);
        }
        let options = UpOptions {
            interfaces: iface,
            cgroup,
            send,
            schemas: schema
                .iter()
                .map(|file| read_schema(file))
                .collect::<Result<_, _>>()?,
            labels: looks_up.then_some(all_labels),
            produce: fields(&produce),
            mode: match mode {
                None => AttachMode::Default,
                Some(Mode::Native) => AttachMode::Native,
                Some(Mode::Generic) => AttachMode::Generic,
            },
            slots,
        };
        let datapath = Datapath::new(bpffs).waiting(wait.duration());
        let up = datapath.up(&options)?;
        for interface in &options.interfaces {
            let interface = output::name(interface);
            say!(
                "{interface}: labels each packet with up to {} bytes of {} fields, of the built-in \
                 ones {produce}",
                up.area,
                up.fields.len()
            )?;
        }
        for delivery in &up.deliveries {
            say!("{}: its sockets get the records", delivery.label())?;
        }
        let silent = options.interfaces.iter().zip(&up.seen_labelled);
        let silent = silent.filter(|(_, seen)| !**seen);
        let silent: Vec<_> = silent
            .map(|(name, _)| output::name(name).to_string())
            .collect();
        if !silent.is_empty() {
            say!(
                "{}: no packet has arrived yet; `pktmeta status` counts them when they do",
                silent.join(", ")
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the value of `--send`.
fn senders(text: &str) -> Result<Senders, String> {
    match text {
        "all" => Ok(Senders::All),
        "none" => Ok(Senders::Users(Vec::new())),
        users => users
            .split(',')
            .map(|user| {
                user.parse()
                    .map_err(|_| format!("{user:?} is no user's number\n  = `id -u NAME` tells it"))
            })
            .collect::<Result<_, _>>()
            .map(Senders::Users),
    }
}

/// Reads the value of `--label`.
fn label(text: &str) -> Result<Label, String> {
    text.parse().map_err(|error: pktmeta_bpf::Error| {
        let remedy = error.remedy().unwrap_or_default();
        format!("{error:#}\n  = {remedy}")
    })
}

/// Reads the value of `--produce`; `up` knows the names.
fn fields(text: &str) -> Vec<String> {
    match text {
        "all" => builtin::NAMES.map(String::from).into(),
        "none" => Vec::new(),
        names => names.split(',').map(String::from).collect(),
    }
}
