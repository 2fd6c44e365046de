//! `pktmeta up`, `down` and `status`

use crate::{
    complete,
    decode::value_json,
    files,
    output::{self, Table, Unwritten, number, say},
    registry,
};
use anyhow::anyhow;
use clap_complete::ArgValueCandidates;
use pktmeta_bpf::{
    AttachMode, Attached, Datapath, HookStatus, InterfaceStatus, Part, Senders, UpOptions, XdpMode,
    hooks::xdp::labels::{Label, LabelStatus},
    host::Found,
};
use pktmeta_core::{FieldInfo, builtin, schema::Schema};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Label the packets of an interface and deliver their records to sockets
///
/// It stays when the command ends, until `pktmeta down`. If something fails, nothing stays.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta up --iface eth0 --schema edge.toml \
    --label 192.0.2.0/24=tenant:7 --label 2001:db8::/32=tenant:8")]
pub(crate) struct Up {
    /// Interface whose packets are labelled
    #[arg(long, value_name = "IF", required_unless_present = "cgroup",
        add = ArgValueCandidates::new(complete::interfaces))]
    iface: Option<OsString>,
    /// Cgroup (v2) whose sockets get records, with a ring of its own, which belongs to the owner of its
    /// directory [default: those that get them already, else the root, that is all sockets]
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
    #[arg(long, value_name = "PREFIX=FIELD:VALUE")]
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
    /// Slots for records of datagrams that wait to be read, a power of two; each CPU has an equal part
    #[arg(long, default_value_t = UpOptions::SLOTS)]
    slots: u32,
    #[command(flatten)]
    wait: Wait,
}

/// How long to wait for another command.
#[derive(clap::Args)]
pub(crate) struct Wait {
    /// Seconds to wait for another command that changes something in the same bpffs
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

impl Wait {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
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
        let mut all_labels = label;
        for file in &labels {
            all_labels.extend(read_labels(file)?);
        }
        let options = UpOptions {
            interface: iface,
            cgroup,
            send,
            schemas: schema
                .iter()
                .map(|file| read_schema(file))
                .collect::<Result<_, _>>()?,
            labels: all_labels,
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
        if let Some(interface) = &options.interface {
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
        if options.interface.is_some() && !up.seen_labelled {
            say!("no packet has arrived yet; `pktmeta status` counts them when they do")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Detach from an interface or a cgroup, or from all
///
/// What is named goes, and nothing else: cgroups are delivered to without an interface too. With the
/// last part everything of pktmeta goes, but for fields that were registered to stay (`pktmeta
/// registry`). Applications that go on reading get "unavailable". If it is killed, the next `down` or
/// `up` finishes it.
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
        let stays = registry::what_stays(bpffs)?;
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

/// Show what is attached where, and what each hop counted
///
/// What is attached, and where, is what the kernel says. Exits with 0 if all that is up works, with 3
/// if nothing is up, with 4 if a part is detached or cannot be looked at, and with 1 if nothing can be
/// told.
#[derive(clap::Args)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let status = Datapath::new(bpffs).status()?;
        if self.json {
            output::print_json(&to_json(&status))?;
        } else if status.is_down() {
            say!("nothing is up; `pktmeta up --iface IF` starts it")?;
        } else {
            print(&status)?;
        }
        if status.unfinished && !self.json {
            say!("a command was killed before its end: `pktmeta down` or `up` finishes it")?;
        }
        Ok(match () {
            () if status.is_down() => ExitCode::from(Self::DOWN),
            () if status.is_whole() => ExitCode::SUCCESS,
            () => ExitCode::from(Self::DAMAGED),
        })
    }

    const DOWN: u8 = 3;
    const DAMAGED: u8 = 4;
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

/// Reads the value of `--produce`; `up` knows the names.
fn fields(text: &str) -> Vec<String> {
    match text {
        "all" => builtin::NAMES.map(String::from).into(),
        "none" => Vec::new(),
        names => names.split(',').map(String::from).collect(),
    }
}

/// Reads a schema file.
pub(crate) fn read_schema(file: &Path) -> anyhow::Result<Schema> {
    let read = File::open(file).and_then(|file| files::text(file, Schema::FILE_MAX as u64));
    let text = read.map_err(|error| {
        let file = output::name(file);
        anyhow!("read the schema {file}: {error}\n  = docs/schema.md says what such a file holds")
    })?;
    Ok(Schema::parse(&output::name(file), &text)?)
}

/// Reads the value of `--labels`.
fn read_labels(file: &Path) -> anyhow::Result<Vec<Label>> {
    /// Some two million labels; a device would not end.
    const MAX: u64 = 64 << 20;
    let (name, read) = match file.to_str() {
        Some("-") => (
            "standard input".into(),
            files::text(io::stdin().lock(), MAX),
        ),
        _ => (
            output::name(file),
            File::open(file).and_then(|file| files::text(file, MAX)),
        ),
    };
    let text = read.map_err(|error| {
        anyhow!("read the labels of {name}: {error}\n  = write PREFIX=FIELD:VALUE, one a line")
    })?;
    Ok(Label::parse_file(&name, &text)?)
}

fn print(status: &pktmeta_bpf::Status) -> Result<(), Unwritten> {
    for interface in &status.interfaces {
        say!("{}", interface.label())?;
        print_settings(interface)?;
        print_hops(&interface.hooks)?;
        print_labels(&interface.labels)?;
    }
    for delivery in &status.deliveries {
        say!("{}", delivery.delivery.label())?;
        if delivery.delivery.cgroup == Found::Gone {
            say!(
                "  = it was removed, as when a service stops; a new one of the same name has no \
                 records until `pktmeta up --cgroup` delivers to it, or to a slice that stays"
            )?;
        }
        if delivery.cpu_slots > 0 {
            say!(
                "  ring of {} slots, {} for what one CPU receives",
                delivery.slots,
                delivery.cpu_slots
            )?;
        }
        print_hops(&delivery.hooks)?;
    }
    let mut fields = Table::new(["field", "type", "owner", "number"]);
    for field in &status.fields {
        fields.row([
            field.name.to_string().into(),
            field.kind.to_string().into(),
            field.owner.to_string().into(),
            number(field.tlv),
        ]);
    }
    fields.print()
}

/// How the programs of an interface were set up, as far as one may see.
fn print_settings(interface: &InterfaceStatus) -> Result<(), Unwritten> {
    if let Some(mode) = mode(interface) {
        say!("  mode {mode}")?;
    }
    if let Some(produces) = produces(interface) {
        let produces = match produces.is_empty() {
            true => "no built-in field".into(),
            false => produces.join(", "),
        };
        say!("  produces {produces}")?;
    }
    Ok(())
}

/// As `up --mode` has it; what is on the device somebody else attached.
fn mode(interface: &InterfaceStatus) -> Option<&'static str> {
    interface.mode.map(|mode| match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Hardware => "hardware",
    })
}

/// Names of the built-in fields that it writes.
fn produces(interface: &InterfaceStatus) -> Option<Vec<&str>> {
    let fields = interface.produces.as_ref()?.iter();
    Some(fields.map(|field| field.name.as_str()).collect())
}

fn print_hops(hooks: &[HookStatus]) -> Result<(), Unwritten> {
    let mut hops = Table::new(["hop", "counter", "count", "meaning"]);
    for hook in hooks {
        add_counters(&mut hops, hook);
    }
    hops.print()?;
    say!("")
}

/// The labels that most packets got: there may be too many to read.
fn print_labels(labels: &[LabelStatus]) -> Result<(), Unwritten> {
    const SHOWN: usize = 20;
    if labels.is_empty() {
        return Ok(());
    }
    let mut most: Vec<_> = labels.iter().collect();
    most.sort_by_key(|label| Reverse(label.packets));
    let mut rows = Table::new(["prefix", "label", "packets"]);
    for label in most.iter().take(SHOWN) {
        let values = label.values.iter();
        let values = values.map(|known| format!("{}:{}", known.info.name, known.text));
        rows.row([
            label.prefix.clone().into(),
            values.collect::<Vec<_>>().join(" ").into(),
            number(label.packets),
        ]);
    }
    rows.print()?;
    if let Some(more @ 1..) = most.len().checked_sub(SHOWN) {
        say!("and {more} more: `pktmeta status --json` has them all")?;
    }
    say!("")
}

fn label_json(label: &LabelStatus) -> Value {
    let values = label.values.iter();
    let values = values.map(|known| {
        let value = value_json(known.info.kind, &known.value);
        (known.info.name.to_string(), value)
    });
    json!({
        "prefix": label.prefix,
        "fields": values.collect::<serde_json::Map<_, _>>(),
        "packets": label.packets,
    })
}

/// Losses only if there are any; the rest always.
fn add_counters(hops: &mut Table, status: &HookStatus) {
    let trouble = match &status.attached {
        Attached::Yes => None,
        Attached::No => {
            Some("not attached any more: run `pktmeta down`, then `pktmeta up`".to_owned())
        }
        Attached::Unknown(why) => Some(format!("perhaps attached: {why}")),
    };
    if let Some(trouble) = trouble {
        let name = status.hook.name.into();
        hops.row([name, "".into(), "".into(), trouble.into()]);
    }
    for (counter, &count) in status.hook.counters.iter().zip(&status.counters) {
        if count == 0 && counter.loss {
            continue;
        }
        let name = if counter.loss {
            format!("{} (lost)", counter.name)
        } else {
            counter.name.into()
        };
        hops.row([
            status.hook.name.into(),
            name.into(),
            number(count),
            counter.meaning.into(),
        ]);
    }
}

fn to_json(status: &pktmeta_bpf::Status) -> Value {
    let interfaces = status.interfaces.iter().map(|interface| {
        let mut json = json!({
            "name": null,
            "ifindex": interface.ifindex,
            "netns": interface.netns,
            "attached": attached_json(&interface.attached),
            "mode": mode(interface),
            "produces": produces(interface),
            "hops": hops_json(&interface.hooks),
            "labels": interface.labels.iter().map(label_json).collect::<Vec<_>>(),
        });
        if let Some(name) = interface.name.there() {
            output::add_name(&mut json, "name", name);
        }
        json
    });
    let cgroups = status.deliveries.iter().map(|status| {
        let mut json = json!({
            "path": null,
            "id": status.delivery.cgroup_id,
            "slots": status.slots,
            "cpu_slots": status.cpu_slots,
            "hops": hops_json(&status.hooks),
        });
        if let Some(path) = status.delivery.cgroup.there() {
            output::add_name(&mut json, "path", path);
        }
        json
    });
    json!({
        "up": !status.is_down(),
        "unfinished": status.unfinished,
        "interfaces": interfaces.collect::<Vec<_>>(),
        "cgroups": cgroups.collect::<Vec<_>>(),
        "fields": status.fields.iter().map(field_json).collect::<Vec<_>>(),
    })
}

/// `null` if one cannot look.
fn attached_json(attached: &Attached) -> Value {
    match attached {
        Attached::Yes => true.into(),
        Attached::No => false.into(),
        Attached::Unknown(_) => Value::Null,
    }
}

fn hops_json(hooks: &[HookStatus]) -> Vec<Value> {
    let hop = |status: &HookStatus| {
        let counts = |losses| -> Value {
            let counters = status.hook.counters.iter().zip(&status.counters);
            let chosen = counters.filter(|(counter, _)| counter.loss == losses);
            chosen
                .map(|(counter, &count)| (counter.name.to_owned(), json!(count)))
                .collect()
        };
        json!({
            "hop": status.hook.name,
            "attached": attached_json(&status.attached),
            "counters": counts(false),
            "lost": counts(true),
            "programs": status.programs.iter().map(|program| json!({
                "name": program.name,
                "id": program.id,
                "run_count": program.run_count,
                "run_time_ns": program.run_time_ns,
            })).collect::<Vec<_>>(),
        })
    };
    hooks.iter().map(hop).collect()
}

pub(crate) fn field_json(field: &FieldInfo) -> Value {
    json!({
        "name": field.name.as_str(),
        "owner": field.owner.as_str(),
        "type": field.kind.to_string(),
        "number": field.tlv.get(),
    })
}
