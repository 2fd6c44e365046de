//! `pktmeta status`

use crate::output::{self, Table, Unwritten, field_json, number, say, value_json};
use pktmeta_bpf::{
    Attached, Datapath, HookStatus, InterfaceStatus, Senders, XdpMode, host::Found,
    labels::LabelStatus,
};
use serde_json::{Value, json};
use std::{cmp::Reverse, path::Path, process::ExitCode};

/// Show what is attached where, and what each hop counted
///
/// What is attached, and where, is what the kernel says. Exits with 0 if all that is up works, with
/// 3 if nothing is up, with 4 if a part is detached or cannot be looked at, and with 1 if nothing
/// can be told.
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
        if let Some(send) = &delivery.send {
            say!("  may send records: {}", senders(send))?;
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

/// The settings of an interface's programs, as far as this process may see them.
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

/// The senders as `up --send` takes them.
fn senders(send: &Senders) -> String {
    match send {
        Senders::All => "all users".into(),
        Senders::Users(users) if users.is_empty() => "nobody".into(),
        Senders::Users(users) => {
            let users: Vec<_> = users.iter().map(u32::to_string).collect();
            format!("users {}", users.join(", "))
        }
    }
}

/// `"all"`, or the users' numbers; `null` if this process may not look.
fn senders_json(send: Option<&Senders>) -> Value {
    match send {
        None => Value::Null,
        Some(Senders::All) => "all".into(),
        Some(Senders::Users(users)) => users.as_slice().into(),
    }
}

/// The mode as `up --mode` takes it; a program on the device is somebody else's.
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
            "send": senders_json(status.send.as_ref()),
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

/// `null` if this process cannot look.
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
