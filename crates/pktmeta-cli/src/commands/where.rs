//! `pktmeta where`: on which paths of this kernel records are kept, and where they are lost.

mod names;
mod page;

use super::own_hosts;
use crate::output::{self, Table, say};
use anyhow::bail;
use names::{fate, hook, loses};
use pktmeta_paths::{Fate, Seen, Survey, Surveyed, Verdict};
use pktmeta_testkit::sandbox::Sandbox;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show where this kernel keeps records, and where it loses them
///
/// Sends packets over every path that this kernel has, between hosts made for it, and looks at each
/// hook on the way and at the sockets. Every packet has values of its own, and the area is filled
/// to its last byte. Needs root and leaves nothing behind. Exits with 1 if a value was wrong.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pktmeta where --path routed
  pktmeta where --html > where.html")]
pub(crate) struct Where {
    /// Only paths whose names contain this
    #[arg(long, value_name = "TEXT")]
    path: Option<String>,
    /// Packets on each path
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(50..))]
    packets: u64,
    /// Keep packet sockets open on every host, as tcpdump does
    #[arg(long)]
    captured: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a page for a browser
    #[arg(long, conflicts_with = "json")]
    html: bool,
}

impl Where {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(sandbox) = Sandbox::current() else {
            return own_hosts::run("the survey");
        };
        let progress = own_hosts::progress("packets", 0);
        let survey = Survey::new(
            &sandbox,
            self.packets,
            self.path.clone(),
            self.captured,
            |sent, all| {
                progress.set_length(all);
                progress.set_position(sent.min(all));
            },
        )?;
        progress.finish_and_clear();
        if survey.paths.is_empty() {
            let path = self.path.unwrap_or_default();
            bail!(
                "find a path whose name contains {path:?}: there is none\n  \
                 = `pktmeta where` without --path shows them all"
            );
        }
        if self.json {
            output::print_json(&to_json(&survey, self.captured))?;
        } else if self.html {
            output::print_as_it_is(&page::of(&survey, self.captured))?;
        } else {
            print(&survey)?;
        }
        let mut stops = survey
            .paths
            .iter()
            .flat_map(|path| path.stops.iter().flatten());
        let wrong = stops.any(|seen| seen.fate() == Fate::Wrong);
        Ok(ExitCode::from(u8::from(wrong)))
    }
}

/// A row for each path: a column for each host that packets came to, and one for sockets.
fn print(survey: &Survey) -> anyhow::Result<()> {
    let mut table = Table::new(["path", "first host", "next host", "sockets"]);
    let mut missing = Vec::new();
    for path in &survey.paths {
        let Ok(stops) = &path.stops else {
            missing.push(path.name);
            continue;
        };
        let mut cells = vec![path.name.into()];
        cells.extend(columns(stops).map(|seen| words(&seen).into()));
        table.row(cells);
        if let Some(loss) = path.loss.filter(|_| loses(stops)) {
            table.note("lost", loss.why);
            table.note("instead", loss.remedy);
        }
    }
    table.print()?;
    say!("\n+ intact  r read-only  ~ of some packets  - gone  ! WRONG")?;
    if survey.paths.iter().any(|path| !path.ours) {
        say!("Nobody of ours labels forged packets: gone is right.")?;
    }
    if !missing.is_empty() {
        // A name is not broken.
        let missing = missing
            .join("; ")
            .replace(' ', "\u{a0}")
            .replace(";\u{a0}", "; ");
        let missing = format!("Not on this kernel: {missing}");
        let options = textwrap::Options::new(100).subsequent_indent("  ");
        say!(
            "{}",
            textwrap::fill(&missing, options).replace('\u{a0}', " ")
        )?;
    }
    Ok(())
}

/// The stops on the first host, on the next, and at sockets.
fn columns(stops: &[Seen]) -> impl Iterator<Item = Vec<&Seen>> {
    let first = stops.first().and_then(|seen| seen.host);
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for seen in stops {
        let column = match seen.host {
            None => 2,
            host if host == first => 0,
            _ => 1,
        };
        columns[column].push(seen);
    }
    columns.into_iter()
}

fn words(stops: &[&Seen]) -> String {
    let words = stops
        .iter()
        .map(|seen| format!("{}{}", hook(seen.hook).short, fate(seen.fate()).sign));
    words.collect::<Vec<_>>().join(" ")
}

fn to_json(survey: &Survey, captured: bool) -> Value {
    let paths = survey.paths.iter().map(path_to_json);
    json!({
        "captured": captured,
        "packets": survey.packets,
        "paths": paths.collect::<Vec<_>>(),
    })
}

fn path_to_json(path: &Surveyed) -> Value {
    let stops = path.stops.iter().flatten().map(|seen| {
        json!({
            "hook": hook(seen.hook).long,
            "host": seen.host,
            "device": seen.device,
            "fate": fate(seen.fate()).word,
            "looks": seen.looks(),
            "right": seen.intact(),
            "read_only": seen.count(Verdict::ReadOnly),
            "absent": seen.count(Verdict::Absent),
            "no_record": seen.count(Verdict::NoRecord),
            "refused": seen.count(Verdict::Refused),
            "wrong": seen.count(Verdict::Wrong),
        })
    });
    json!({
        "path": path.name,
        "labelled": path.ours,
        "missing": path.stops.as_ref().err(),
        "stops": stops.collect::<Vec<_>>(),
        "why": path.loss.map(|loss| loss.why),
        "remedy": path.loss.map(|loss| loss.remedy),
    })
}
