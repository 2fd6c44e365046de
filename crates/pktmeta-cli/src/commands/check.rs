//! `pktmeta check`

use crate::{
    arguments::read_schema,
    output::{self, Table, Unwritten, number, say},
};
use anyhow::bail;
use pktmeta_core::{
    Record, abi, builtin,
    schema::{self, Change, Lint, Saving, Schema, SchemaField, Size},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Say what schemas cost, whether they fit together, and what a new version breaks
///
/// Two files of one owner are two versions of a schema, the old one first: its changes are shown,
/// and the new one is used. Exits with 1 if a change is breaking, if two owners use one name, or if
/// the fields are past the budget.
#[derive(clap::Args)]
#[command(after_help = "Example: git show HEAD:edge.toml > old.toml; \
    pktmeta check old.toml edge.toml dns.toml --budget 96")]
pub(crate) struct Check {
    /// Schema files
    #[arg(required = true, value_name = "SCHEMA")]
    schemas: Vec<PathBuf>,
    /// Most bytes of metadata area that all fields together may need
    #[arg(long, value_name = "BYTES", default_value_t = Record::CAPACITY as u8,
        value_parser = clap::value_parser!(u8).range(..=Record::CAPACITY as i64))]
    budget: u8,
    /// Leave out the built-in fields; else all count, whatever `up` would produce
    #[arg(long)]
    no_builtin: bool,
    /// Exit with 1 on warnings too
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut sources = Vec::new();
        if !self.no_builtin {
            let file = PathBuf::from("built-in fields");
            let schema = Schema::parse("built-in fields", builtin::SCHEMA)?;
            sources.push(Source { file, schema });
        }
        for path in &self.schemas {
            let (file, schema) = (path.clone(), read_schema(path)?);
            sources.push(Source { file, schema });
        }
        let owners = owners(sources)?;
        let report = Report::new(&owners, self.budget.into(), self.strict);
        match self.json {
            true => output::print_json(&report.to_json())?,
            false => report.print()?,
        }
        match &report.faults()[..] {
            [] => Ok(ExitCode::SUCCESS),
            faults => bail!(faults.join(", ")),
        }
    }
}

/// A schema and its file.
struct Source {
    file: PathBuf,
    schema: Schema,
}

/// The schema of an owner, and the version before it.
struct Owner {
    old: Option<Source>,
    new: Source,
}

/// The versions of each owner's schema, in the order in which owners first appear.
fn owners(sources: Vec<Source>) -> anyhow::Result<Vec<Owner>> {
    let mut owners: Vec<Owner> = Vec::new();
    for source in sources {
        let name = source.schema.owner();
        let same = |owner: &&mut Owner| owner.new.schema.owner() == name;
        match owners.iter_mut().find(same) {
            None => owners.push(Owner {
                old: None,
                new: source,
            }),
            Some(Owner {
                old: Some(old),
                new,
            }) => bail!(
                "{}, {} and {} all have owner {name}\n  = give at most two versions of a schema, \
                 the old one first",
                output::name(&old.file),
                output::name(&new.file),
                output::name(&source.file)
            ),
            Some(owner) => owner.old = Some(std::mem::replace(&mut owner.new, source)),
        }
    }
    Ok(owners)
}

/// The findings in the schemas.
struct Report<'a> {
    owners: &'a [Owner],
    changes: Vec<(&'a Owner, Vec<Change>)>,
    conflicts: Vec<(&'a SchemaField, &'a SchemaField)>,
    /// The fields of all owners; those that take most bytes come first.
    fields: Vec<&'a SchemaField>,
    savings: Vec<(&'a Schema, Saving)>,
    lints: Vec<Lint>,
    area: usize,
    budget: usize,
    /// True if lints are faults.
    strict: bool,
}

impl<'a> Report<'a> {
    /// How many of the most costly fields get a line.
    const COSTLY: usize = 5;

    fn new(owners: &'a [Owner], budget: usize, strict: bool) -> Self {
        let schemas = || owners.iter().map(|owner| &owner.new.schema);
        let changes = owners.iter().filter_map(|owner| {
            let changes = owner.new.schema.changes_since(&owner.old.as_ref()?.schema);
            Some((owner, changes))
        });
        let mut fields: Vec<_> = schemas().flat_map(Schema::fields).collect();
        fields.sort_by(|a, b| {
            let [a, b] = [a, b].map(|field| field.size());
            (b.worst.cmp(&a.worst)).then(b.expected.total_cmp(&a.expected))
        });
        let savings = |schema: &'a Schema| {
            let savings = schema.savings().into_iter();
            savings.map(move |saving| (schema, saving))
        };
        Self {
            owners,
            changes: changes.collect(),
            conflicts: schema::conflicts(schemas()),
            savings: schemas().flat_map(savings).collect(),
            lints: schema::lints(schemas()),
            area: schema::area(fields.iter().map(|field| field.wanted.kind)),
            fields,
            budget,
            strict,
        }
    }

    /// The reasons for which the check fails, as phrases.
    fn faults(&self) -> Vec<String> {
        let changes = self.changes.iter().flat_map(|(_, changes)| changes);
        let breaking = changes.filter(|change| change.breaking.is_some()).count();
        let mut faults = Vec::new();
        if breaking > 0 {
            faults.push(count(breaking, "breaking change"));
        }
        if !self.conflicts.is_empty() {
            faults.push(count(self.conflicts.len(), "conflict"));
        }
        if self.area > self.budget {
            let past = self.area - self.budget;
            faults.push(format!(
                "the area has {}, {past} past the budget of {}",
                count(self.area, "byte"),
                self.budget
            ));
        }
        if self.fields.len() > NUMBERS {
            faults.push(format!(
                "{} fields, and a host has {NUMBERS} numbers for fields",
                self.fields.len()
            ));
        }
        if self.strict && !self.lints.is_empty() {
            faults.push(count(self.lints.len(), "warning"));
        }
        faults
    }

    fn gro_obstacles(&self) -> impl Iterator<Item = (&SchemaField, &'static str)> {
        let fields = self.fields.iter();
        fields.filter_map(|&field| Some((field, field.gro_obstacle()?)))
    }

    fn file(&self, field: &SchemaField) -> &Path {
        let mut owners = self.owners.iter();
        let owner = owners.find(|owner| owner.new.schema.owner() == field.wanted.owner);
        owner.map_or(Path::new(""), |owner| &owner.new.file)
    }

    fn print(&self) -> Result<(), Unwritten> {
        self.print_changes()?;
        for (first, second) in &self.conflicts {
            let [first_side, second_side] = [first, second].map(|side| {
                let wanted = &side.wanted;
                let file = output::name(self.file(side));
                format!("{} of {} in {file}", wanted.kind, wanted.owner)
            });
            let name = first.wanted.name;
            point("CONFLICT", format!("{name}: {first_side}, {second_side}"))?;
            point("", "= rename one of the two, or take it out of one schema")?;
        }
        if !self.conflicts.is_empty() {
            say!("")?;
        }
        self.print_sizes()?;
        self.print_savings()?;
        self.print_gro_obstacles()?;
        for lint in &self.lints {
            let owner = lint.owner;
            let subject = lint.field.map_or_else(
                || format!("owner {owner}"),
                |field| format!("{field} of {owner}"),
            );
            point("warning", format!("{subject}: {}", lint.what))?;
            point("", format!("= {}", lint.remedy))?;
        }
        match self.faults().is_empty() {
            true => point(
                "ok",
                format!("the area has {} of {} bytes", self.area, self.budget),
            ),
            false => Ok(()),
        }
    }

    fn print_changes(&self) -> Result<(), Unwritten> {
        for (owner, changes) in &self.changes {
            let (name, new) = (owner.new.schema.owner(), output::name(&owner.new.file));
            let old = owner.old.as_ref();
            let old = old.map_or_else(String::new, |old| output::name(&old.file));
            say!("{name}: {new} is the version after {old}")?;
            for change in changes {
                let subject = change
                    .field
                    .map_or_else(|| format!("schema of {name}"), |field| field.to_string());
                let what = format!("{subject}: {}", change.what);
                match &change.breaking {
                    None => point("ok", what)?,
                    Some(breaking) => {
                        point("BREAKING", what)?;
                        point("", breaking.reason)?;
                        point("", format!("= {}", breaking.remedy))?;
                    }
                }
            }
            if changes.is_empty() {
                point("ok", "nothing changed")?;
            }
            say!("")?;
        }
        Ok(())
    }

    fn print_sizes(&self) -> Result<(), Unwritten> {
        let mut sizes = Table::new(["owner", "fields", "bytes", "on average", "area alone"]);
        let mut row = |what: String, fields: String, size: Size, area: String| {
            sizes.row([
                what.into(),
                number(fields),
                number(size.worst),
                number(format!("{:.1}", size.expected)),
                number(area),
            ]);
        };
        row("header".into(), String::new(), Size::HEADER, String::new());
        for owner in self.owners {
            let schema = &owner.new.schema;
            let fields = schema.fields().len().to_string();
            let area = schema.area().to_string();
            row(
                schema.owner().to_string(),
                fields,
                total(schema.fields()),
                area,
            );
        }
        let all = Size::HEADER + total(self.fields.iter().copied());
        let area = self.area.to_string();
        row("all".into(), self.fields.len().to_string(), all, area);
        sizes.print()?;
        say!("")?;
        let costly = &self.fields[..self.fields.len().min(Self::COSTLY)];
        if costly.is_empty() {
            return Ok(());
        }
        let mut fields = Table::new(["costly field", "owner", "type", "bytes", "on average"]);
        for field in costly {
            let (wanted, size) = (&field.wanted, field.size());
            fields.row([
                wanted.name.to_string().into(),
                wanted.owner.to_string().into(),
                wanted.kind.to_string().into(),
                number(size.worst),
                number(format!("{:.1}", size.expected)),
            ]);
        }
        fields.print()?;
        if self
            .fields
            .iter()
            .any(|field| field.wanted.kind.is_variable())
        {
            say!("bytes[..N] counts with all N on average too")?;
        }
        say!("")
    }

    fn print_savings(&self) -> Result<(), Unwritten> {
        for (schema, saving) in &self.savings {
            let names: Vec<_> = saving.fields.iter().map(ToString::to_string).collect();
            let (names, owner, advice) = (names.join(", "), schema.owner(), &saving.advice);
            point("saving", format!("{names} of {owner}: {advice}"))?;
            let Size {
                worst, expected, ..
            } = saving.saved;
            let mut bytes = match worst {
                0 => format!("saves {expected:.1} bytes on average"),
                _ => format!("saves {worst} bytes, {expected:.1} on average"),
            };
            if let Some(provided) = saving.provided {
                bytes += &format!(", if {provided}");
            }
            point("", bytes)?;
        }
        if !self.savings.is_empty() {
            point(
                "",
                "(a field that is in use keeps its type: add another, and retire it)",
            )?;
        }
        Ok(())
    }

    fn print_gro_obstacles(&self) -> Result<(), Unwritten> {
        let mut obstacles = self.gro_obstacles().peekable();
        if obstacles.peek().is_none() {
            return Ok(());
        }
        for (field, why) in obstacles {
            let (name, owner) = (field.wanted.name, field.wanted.owner);
            point("no GRO", format!("{name} of {owner}: {why}"))?;
        }
        point(
            "",
            "the kernel merges only packets with equal metadata, whatever `gro` says",
        )
    }

    fn to_json(&self) -> Value {
        let owners = self.owners.iter().map(|owner| {
            let schema = &owner.new.schema;
            let Size {
                worst, expected, ..
            } = total(schema.fields());
            let mut json = json!({
                "owner": schema.owner().as_str(),
                "file": null,
                "old_file": null,
                "fields": schema.fields().len(),
                "bytes": worst,
                "expected_bytes": expected,
                "area": schema.area(),
            });
            output::add_name(&mut json, "file", &owner.new.file);
            if let Some(old) = &owner.old {
                output::add_name(&mut json, "old_file", &old.file);
            }
            json
        });
        let changes = self.changes.iter().flat_map(|(owner, changes)| {
            let name = owner.new.schema.owner();
            changes.iter().map(move |change| {
                let breaking = change.breaking.as_ref();
                json!({
                    "owner": name.as_str(),
                    "field": change.field.map(|field| field.to_string()),
                    "change": change.what,
                    "breaking": breaking.is_some(),
                    "reason": breaking.map(|breaking| breaking.reason),
                    "remedy": breaking.map(|breaking| &breaking.remedy),
                })
            })
        });
        let conflicts = self.conflicts.iter().map(|(first, second)| {
            let side = |field: &SchemaField| {
                let mut json = json!({
                    "owner": field.wanted.owner.as_str(),
                    "type": field.wanted.kind.to_string(),
                    "file": null,
                });
                output::add_name(&mut json, "file", self.file(field));
                json
            };
            json!({ "field": first.wanted.name.as_str(), "sides": [side(first), side(second)] })
        });
        let fields = self.fields.iter().map(|field| {
            let Size {
                worst, expected, ..
            } = field.size();
            json!({
                "name": field.wanted.name.as_str(),
                "owner": field.wanted.owner.as_str(),
                "type": field.wanted.kind.to_string(),
                "hot": field.wanted.policy.hot,
                "bytes": worst,
                "expected_bytes": expected,
            })
        });
        let savings = self.savings.iter().map(|(schema, saving)| {
            json!({
                "owner": schema.owner().as_str(),
                "fields": saving.fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "advice": saving.advice,
                "bytes": saving.saved.worst,
                "expected_bytes": saving.saved.expected,
                "provided": saving.provided,
            })
        });
        let obstacles = self.gro_obstacles().map(|(field, why)| {
            json!({
                "field": field.wanted.name.as_str(),
                "owner": field.wanted.owner.as_str(),
                "why": why,
            })
        });
        let warnings = self.lints.iter().map(|lint| {
            json!({
                "owner": lint.owner.as_str(),
                "field": lint.field.map(|field| field.to_string()),
                "what": lint.what,
                "remedy": lint.remedy,
            })
        });
        let all = Size::HEADER + total(self.fields.iter().copied());
        json!({
            "ok": self.faults().is_empty(),
            "faults": self.faults(),
            "bytes": all.worst,
            "expected_bytes": all.expected,
            "area": self.area,
            "budget": self.budget,
            "owners": owners.collect::<Vec<_>>(),
            "changes": changes.collect::<Vec<_>>(),
            "conflicts": conflicts.collect::<Vec<_>>(),
            "fields": fields.collect::<Vec<_>>(),
            "savings": savings.collect::<Vec<_>>(),
            "defeat_gro": obstacles.collect::<Vec<_>>(),
            "warnings": warnings.collect::<Vec<_>>(),
        })
    }
}

/// Fields that a host has numbers for.
const NUMBERS: usize = abi::FIELDS_MAX - 1;

fn total<'a>(fields: impl IntoIterator<Item = &'a SchemaField>) -> Size {
    fields.into_iter().map(SchemaField::size).sum()
}

/// A line with its kind in front, or blanks of the same width.
fn point(what: &str, line: impl std::fmt::Display) -> Result<(), Unwritten> {
    say!("{what:9} {line}")
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
