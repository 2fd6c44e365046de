//! `pktmeta registry`

use crate::{
    arguments::{Wait, read_schema},
    output::{self, Cell, Table, Unwritten, field_json, known, number, place, say},
};
use pktmeta_bpf::{HostRegistry, Registered, Removal, Use, User};
use pktmeta_core::{
    FieldInfo,
    registry::{GroMerge, Policy},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Show, register and remove the fields of this host
///
/// Each field has a number on the host, by which records name it and which nobody writes down:
/// programs and applications know the field's name. `pktmeta up` registers its fields until
/// `pktmeta down`; those that are registered here stay until they are removed.
#[derive(clap::Args)]
pub(crate) struct Registry {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    List(List),
    Register(Register),
    Remove(Remove),
}

impl Registry {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let host = HostRegistry::new(bpffs);
        match self.command {
            Command::List(list) => list.run(&host)?,
            Command::Register(register) => register.run(host)?,
            Command::Remove(remove) => remove.run(host)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Show the fields of this host, and who uses them
///
/// Users are the loaded BPF programs that are bound to a field, whoever loaded them, and the labels
/// of `pktmeta up`. A place is the offset in a record where programs look for the field first.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta registry list --json | jq '.fields[].name'")]
struct List {
    /// Show removed fields too, whose numbers are given to no other field
    #[arg(long)]
    retired: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    fn run(self, host: &HostRegistry) -> anyhow::Result<()> {
        let registry = host.read()?;
        let (users, strays) = (host.users()?, host.strays()?);
        if self.json {
            let with_users = |fields: &[FieldInfo]| -> Vec<_> {
                fields.iter().map(|field| to_json(field, &users)).collect()
            };
            let json = json!({
                "fields": with_users(registry.fields()),
                "retired": with_users(registry.retired()),
                "area": registry.layout().area,
                "strays": strays.iter().map(use_json).collect::<Vec<_>>(),
            });
            return Ok(output::print_json(&json)?);
        }
        let mut fields: Vec<_> = registry.fields().iter().collect();
        let hidden = match self.retired {
            true => 0,
            false => registry.retired().len(),
        };
        if hidden == 0 {
            fields.extend(registry.retired());
        }
        fields.sort_by_key(|field| field.tlv);
        if fields.is_empty() {
            say!("no field is registered on this host; `pktmeta registry register` does that")?;
        } else {
            print(&fields, &users)?;
        }
        if hidden > 0 {
            say!("{hidden} removed: --retired shows them")?;
        }
        for stray in strays {
            say!(
                "{stray} is bound to another registry: if that is gone, bind the object again \
                 (`pktmeta bind`) and load it anew"
            )?;
        }
        Ok(())
    }
}

/// Register the fields of schemas, to stay until they are removed
///
/// All of them or, if one cannot be, none. Fields that are there with the same meaning keep their
/// numbers and get the policy that the schema gives them now.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta registry register edge.toml dns.toml")]
struct Register {
    /// Schema files
    #[arg(required = true, value_name = "SCHEMA")]
    schemas: Vec<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

impl Register {
    fn run(self, host: HostRegistry) -> anyhow::Result<()> {
        let host = host.waiting(self.wait.duration());
        let schemas = self.schemas.iter().map(|file| read_schema(file));
        let registered = host.register(&schemas.collect::<Result<Vec<_>, _>>()?)?;
        let mut fields = Table::new(["field", "owner", "type", "number", "place", "is"]);
        for registered in &registered {
            let news = [news(registered).into()];
            fields.row(known(&registered.field).into_iter().chain(news));
        }
        fields.print()?;
        if registered.iter().any(|field| field.before.is_none()) {
            print_too_small(&host)?;
        }
        Ok(())
    }
}

/// Names the programs that make records without room for new fields, if this process may look.
fn print_too_small(host: &HostRegistry) -> Result<(), Unwritten> {
    let users = host.users().unwrap_or_default();
    let programs = users.into_iter().map(|user| user.what);
    let mut programs: Vec<_> = programs
        .filter(|user| matches!(user, Use::Program { .. }))
        .collect();
    programs.sort();
    programs.dedup();
    for program in programs {
        say!(
            "{program} was bound before: if it makes records, they have no room for new fields \
             until it is bound and loaded again"
        )?;
    }
    Ok(())
}

/// Remove fields
///
/// What a loaded program or a label uses is not removed. The number of a removed field is given to
/// no other: sockets may still hold records with it. With the last field the registry goes, unless
/// a datapath is up or a loaded program is bound to one of its numbers.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta registry remove tenant zone")]
struct Remove {
    /// Names of the fields
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    names: Vec<String>,
    /// Remove every field
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wait: Wait,
}

impl Remove {
    fn run(self, host: HostRegistry) -> anyhow::Result<()> {
        let host = host.waiting(self.wait.duration());
        let removed = host.remove(&match self.all {
            true => Removal::All,
            false => Removal::Fields(self.names),
        })?;
        for field in &removed {
            say!("{} of {}: removed", field.name, field.owner)?;
        }
        match (host.exists()?, removed.is_empty()) {
            (true, false) => say!("their numbers are given to no other field"),
            (true, true) => say!("no field was registered"),
            (false, _) => say!("no field is registered any more, and no number given away"),
        }?;
        Ok(())
    }
}

fn news(registered: &Registered) -> &'static str {
    let Some(before) = registered.before else {
        return "new";
    };
    let mut kept = before.policy;
    kept.kept = true;
    match () {
        () if registered.field == before => "there",
        () if registered.field.policy == kept => "there, and stays now",
        () => "there, with another policy now",
    }
}

fn print(fields: &[&FieldInfo], users: &[User]) -> Result<(), Unwritten> {
    let heading = [
        "number", "name", "type", "owner", "policy", "place", "used by",
    ];
    let mut rows = Table::new(heading);
    for field in fields {
        let users = of(field, users).map(|user| match user {
            Use::Program { name, id } => format!("{name} (id {id})"),
            Use::Label { ifindex } => format!("label on interface {ifindex}"),
        });
        rows.row([
            number(field.tlv),
            field.name.to_string().into(),
            field.kind.to_string().into(),
            field.owner.to_string().into(),
            policy(field.policy).join(", ").into(),
            place(field),
            Cell::lines(users),
        ]);
    }
    rows.print()
}

fn of<'a>(field: &FieldInfo, users: &'a [User]) -> impl Iterator<Item = &'a Use> {
    let number = field.tlv;
    let users = users.iter().filter(move |user| user.number == number);
    users.map(|user| &user.what)
}

/// A policy in words, without defaults, but with the writers.
fn policy(policy: Policy) -> Vec<&'static str> {
    let gro = |merge| policy.gro == merge;
    let words = [
        (policy.retired, "removed"),
        (!policy.kept, "until down"),
        (policy.writers.xdp, "xdp writes"),
        (policy.writers.tc, "tc writes"),
        (policy.writers.app, "app writes"),
        (policy.hot, "hot"),
        (policy.wire, "wire"),
        (policy.trusted, "trusted"),
        (gro(GroMerge::First), "GRO: first"),
        (gro(GroMerge::Last), "GRO: last"),
        (gro(GroMerge::Sum), "GRO: sum"),
        (policy.drop_on_clone, "not on clones"),
        (policy.drop_on_netns, "not into other namespaces"),
    ];
    let words = words.into_iter().filter(|(is, _)| *is);
    words.map(|(_, word)| word).collect()
}

fn to_json(field: &FieldInfo, users: &[User]) -> Value {
    let mut json = field_json(field);
    json["size"] = json!(field.kind.size());
    json["place"] = json!(field.place);
    json["policy"] = json!(policy(field.policy));
    json["used_by"] = of(field, users).map(use_json).collect();
    json
}

fn use_json(user: &Use) -> Value {
    match user {
        Use::Program { name, id } => json!({ "program": name, "id": id }),
        Use::Label { ifindex } => json!({ "label_of_ifindex": ifindex }),
    }
}
