//! `pktmeta doctor`

use crate::output::{self, Unwritten, say};
use pktmeta_bpf::doctor::{Check, Finding, examine};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode};

/// Say what this host has of what the datapath needs, found by trying
///
/// Loads and attaches each program for a moment, to an interface and a cgroup of its own. Exits
/// with 1 if something is missing that the datapath cannot do without.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let checks = examine(bpffs);
        let fatal = checks.iter().any(Check::is_fatal);
        if self.json {
            let checks: Vec<_> = checks.iter().map(to_json).collect();
            output::print_json(&json!({ "works": !fatal, "checks": checks }))?;
        } else {
            checks.iter().try_for_each(print)?;
        }
        Ok(if fatal {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(check: &Check) -> Result<(), Unwritten> {
    match &check.finding {
        Finding::Present(detail) => say!("ok       {}: {detail}", check.name),
        Finding::Missing {
            needed,
            why,
            consequence,
            remedy,
        } => {
            let word = if *needed { "MISSING" } else { "lacking" };
            say!("{word}  {}: {why}", check.name)?;
            say!("         so {consequence}")?;
            say!("         = {remedy}")
        }
    }
}

fn to_json(check: &Check) -> Value {
    match &check.finding {
        Finding::Present(detail) => {
            json!({ "name": check.name, "present": true, "detail": detail })
        }
        Finding::Missing {
            needed,
            why,
            consequence,
            remedy,
        } => json!({
            "name": check.name,
            "present": false,
            "needed": needed,
            "why": why,
            "consequence": consequence,
            "remedy": remedy,
        }),
    }
}
