//! A client that knows nothing of our crates: Python, getsockopt, and `docs/abi.md`.

use super::{
    lab::{Family, Lab},
    tcp,
};
use crate::output::{Unwritten, say};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, ErrorKind, Read},
    process::Stdio,
};

const SCRIPT: &str = include_str!("../../../../../examples/python/read_record.py");

/// The output of the script.
pub(super) struct Python {
    /// `None` if there is no Python on this host.
    output: Option<String>,
}

impl Python {
    pub(super) fn print(&self) -> Result<(), Unwritten> {
        match &self.output {
            Some(output) => {
                say!("A Python server that only knows getsockopt() read of its client's SYN:\n")?;
                output.lines().try_for_each(|line| say!("  {line}"))?;
                say!("")
            }
            None => say!("There is no python3 here to show a server in another language.\n"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!(
            self.output
                .as_ref()
                .map(|output| output.lines().collect::<Vec<_>>())
        )
    }
}

/// Runs the script as a server, and connects to it as tenant 2.
pub(super) fn read_record(lab: &Lab) -> anyhow::Result<Python> {
    let family = Family::V6;
    let server = lab.server(family);
    let started = lab
        .hosts
        .server()
        .command("python3")
        .args([
            "-c",
            SCRIPT,
            &server.ip().to_string(),
            &server.port().to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn();
    let mut script = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Python { output: None }),
        started => started.context("start python3")?,
    };
    let stdout = script.stdout.take().context("read what python3 prints")?;
    let mut stdout = BufReader::new(stdout);
    stdout
        .read_line(&mut String::new())
        .context("wait for python3 to listen")?;
    let connection = tcp::connect(lab, family, 2).context("connect to the Python server")?;
    let mut output = String::new();
    stdout
        .read_to_string(&mut output)
        .context("read what python3 prints")?;
    drop(connection);
    if !script.wait().context("wait for python3")?.success() {
        bail!("the Python server failed, see above");
    }
    Ok(Python {
        output: Some(output),
    })
}
