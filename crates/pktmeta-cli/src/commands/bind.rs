//! `pktmeta bind`

use crate::{
    arguments::{Wait, read_schema},
    files::{self, NewFile},
    output::{self, Cell, Table, Unwritten, field_json, known, remark, say},
};
use anyhow::anyhow;
use pktmeta_bpf::{
    HostRegistry, Use, User,
    bind::{Binding, Image},
};
use pktmeta_core::Registry;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Write the numbers of this host's fields into a BPF object, for any loader
///
/// The programs name their fields with PKTMETA_FIELD; what is written are constants, which any
/// loader loads as they are (bpftool, iproute2, libbpf, cilium/ebpf, aya). They hold as long as the
/// registry does, which does not outlive a boot: bind when the host starts, before the programs are
/// loaded, and register all owners' schemas before that, since records have room for the fields
/// that are known by then. Only you can read the result, since it has the secret that proves this
/// host's records.
#[derive(clap::Args)]
#[command(
    after_help = "Examples: pktmeta bind edge.bpf.o -o edge.bound.o --schema edge.toml\n          \
    bpftool prog load edge.bound.o /sys/fs/bpf/edge type xdp"
)]
pub(crate) struct Bind {
    /// BPF object file; one that is bound already is bound again
    #[arg(value_name = "IN.o")]
    input: PathBuf,
    /// File to write, whole or not at all; may be the same
    #[arg(short, long, value_name = "OUT.o")]
    output: PathBuf,
    /// Schema file whose fields are registered on this host, to stay until `pktmeta registry
    /// remove`; may be given more than once
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// Leave fields that nobody registered without a number: the programs get -ENOENT for them, and
    /// neither read nor write them
    #[arg(long)]
    allow_unbound: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wait: Wait,
}

/// More than any object of BPF programs has, with the debug information of a whole kernel's types.
const OBJECT_MAX: u64 = 64 << 20;

impl Bind {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let name = output::name(&self.input);
        let object = files::read(&self.input, OBJECT_MAX).map_err(|error| {
            anyhow!("read {name}: {error}\n  = name an object that clang -target bpf -c has made")
        })?;
        let mut image = Image::parse(&name, object)?;
        let schemas = self.schema.iter().map(|file| read_schema(file));
        let schemas = schemas.collect::<Result<Vec<_>, _>>()?;
        // Create the file before anything is registered: that fails most easily.
        let mut output = NewFile::create_secret(&self.output)?;
        let before = image.registry();
        let host = HostRegistry::new(bpffs).waiting(self.wait.duration());
        let area_before = host.read()?.layout().area;
        let registry = host.bind(&mut image, &schemas, self.allow_unbound)?;
        let fields = image.fields();
        output.fill(&image.into_bytes())?;
        output.publish()?;
        match self.json {
            true => output::print_json(&to_json(&self.output, &fields, &registry))?,
            false => print(&fields, &registry)?,
        }
        if before.is_some_and(|id| id != registry.id()) {
            remark!(
                "{name} was bound to another registry; programs that were loaded from it neither \
                 make nor read records of this one"
            );
        }
        let area = registry.layout().area;
        if area > area_before {
            remark_narrow_records(&programs(&host.users()?), area_before, area);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The loaded programs among the users of fields.
fn programs(users: &[User]) -> BTreeSet<&Use> {
    let used = users.iter().map(|user| &user.what);
    used.filter(|used| matches!(used, Use::Program { .. }))
        .collect()
}

/// Programs that were loaded before still make records without room for all present fields.
fn remark_narrow_records(programs: &BTreeSet<&Use>, before: usize, now: usize) {
    if programs.is_empty() {
        return;
    }
    let programs: Vec<_> = programs.iter().map(ToString::to_string).collect();
    remark!(
        "programs that were loaded before reserve {before} bytes for a record, and all fields now \
         take {now}: setting one may fail for want of room (ENOSPC) in records that they make. \
         Bind and load them again, and what `pktmeta up` attached by `pktmeta down` and `up`: {}",
        programs.join(", ")
    );
}

fn print(fields: &[Binding], registry: &Registry) -> Result<(), Unwritten> {
    if fields.is_empty() {
        return say!("the object names no field");
    }
    let mut rows = Table::new(["field", "owner", "type", "number", "place"]);
    let mut passing = Vec::new();
    for field in fields {
        match bound(field, registry) {
            Some(info) => {
                rows.row(known(info));
                if !info.policy.kept {
                    passing.push(info.name.as_str());
                }
            }
            None => {
                let (name, shape) = (field.name.to_string(), field.shape());
                rows.row([name.as_str(), "", &shape, "unbound", ""].map(Cell::from));
            }
        }
    }
    rows.print()?;
    if !passing.is_empty() {
        say!(
            "registered until `pktmeta down`, bind again after the next `pktmeta up`: {}",
            passing.join(", ")
        )?;
    }
    Ok(())
}

fn to_json(output: &Path, fields: &[Binding], registry: &Registry) -> Value {
    let field = |field: &Binding| match bound(field, registry) {
        Some(info) => {
            let mut json = field_json(info);
            json["place"] = json!(info.place);
            json["kept"] = json!(info.policy.kept);
            json
        }
        None => json!({ "name": field.name.as_str(), "number": null }),
    };
    let mut json = json!({});
    output::add_name(&mut json, "object", output);
    json["fields"] = fields.iter().map(field).collect();
    json
}

fn bound<'a>(field: &Binding, registry: &'a Registry) -> Option<&'a pktmeta_core::FieldInfo> {
    registry.by_type(field.number()?)
}
