//! `pktmeta sockets`

use crate::{
    complete,
    output::{self, Table, Unwritten, record_fields_json, record_line},
};
use anyhow::bail;
use clap_complete::ArgValueCandidates;
use pktmeta_bpf::{
    Datapath, HostRegistry,
    sockets::{Process, Protocol, SocketScope, SocketStatus},
};
use pktmeta_core::{FieldInfo, Record, Value as FieldValue, schema::Dictionary};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::ExitCode,
};

/// List sockets with their records, also of programs that know nothing of them
///
/// Shows the TCP and UDP sockets that have a record, or ask for those of their datagrams, in all
/// network namespaces. Below each stand the record of the segment that opened its connection (syn),
/// the latest that arrived, and that of what it sends.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta sockets --tcp --port 443 --field tenant=7")]
pub(crate) struct Sockets {
    /// Only TCP sockets
    #[arg(long)]
    tcp: bool,
    /// Only UDP sockets
    #[arg(long)]
    udp: bool,
    /// Only sockets with a record that has a field, or has it with a value; may be given more than
    /// once
    #[arg(long, value_name = "NAME[=VALUE]", add = ArgValueCandidates::new(complete::fields))]
    field: Vec<String>,
    /// Only sockets that have this port on either end
    #[arg(long)]
    port: Option<u16>,
    /// Also sockets without a record
    #[arg(long, conflicts_with = "field")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Sockets {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        let scope = match self.all {
            true => SocketScope::All,
            false => SocketScope::Stored,
        };
        let (dictionary, mut sockets) = listed(bpffs, scope)?;
        let fields = self
            .field
            .iter()
            .map(|text| FieldFilter::parse(&dictionary, text));
        let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
        sockets.retain(|socket| self.wants(socket) && fields.iter().all(|f| f.matches(socket)));
        match self.json {
            true => output::print_json(&to_json(&dictionary, &sockets))?,
            false => print(&dictionary, &sockets)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wants(&self, socket: &SocketStatus) -> bool {
        let protocol = match socket.protocol {
            Protocol::Tcp => self.tcp || !self.udp,
            Protocol::Udp => self.udp || !self.tcp,
        };
        let ports = [socket.local.port(), socket.peer.port()];
        protocol && self.port.is_none_or(|port| ports.contains(&port))
    }
}

/// The sockets, and the names of their records' fields.
fn listed(bpffs: &Path, scope: SocketScope) -> anyhow::Result<(Dictionary, Vec<SocketStatus>)> {
    let host = HostRegistry::new(bpffs);
    for _ in 0..3 {
        let state = host.state()?;
        let dictionary = host.dictionary()?;
        let sockets = Datapath::new(bpffs).sockets(scope)?;
        // If it changed, the records may have numbers of another registry.
        if host.state()? == state {
            return Ok((dictionary, sockets));
        }
    }
    bail!("list sockets: the registry changes all the time\n  = run it again")
}

/// A field that a record must have, with this value if one is given. A field that is shown as odd
/// does not count.
struct FieldFilter {
    field: FieldInfo,
    value: Option<FieldValue>,
}

impl FieldFilter {
    fn parse(dictionary: &Dictionary, text: &str) -> anyhow::Result<Self> {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let field = *dictionary.info(name)?;
        let value = match text == name {
            true => None,
            false => field.value_in(&dictionary.encode([text])?),
        };
        Ok(Self { field, value })
    }

    fn matches(&self, socket: &SocketStatus) -> bool {
        let mut records = records(socket).into_iter();
        records.any(|(_, record)| self.is_in(record))
    }

    fn is_in(&self, record: &Record) -> bool {
        match (self.field.value_in(record), &self.value) {
            (Some(found), Some(wanted)) => found == *wanted,
            (found, _) => found.is_some(),
        }
    }
}

/// The records of a socket, with their names in the output.
fn records(socket: &SocketStatus) -> Vec<(&'static str, &Record)> {
    let records = [
        ("syn", &socket.opening),
        ("latest", &socket.latest),
        ("sends", &socket.sent),
    ];
    let there = records
        .into_iter()
        .filter_map(|(of, record)| Some((of, record.as_ref()?)));
    there.collect()
}

/// A line for each socket, and below it one for each of its records.
fn print(dictionary: &Dictionary, sockets: &[SocketStatus]) -> Result<(), Unwritten> {
    let mut rows = Table::new(["proto", "state", "local", "peer", "process", "netns"]);
    for socket in sockets {
        rows.row([
            socket.protocol.to_string().into(),
            socket.state.into(),
            end(socket.local).into(),
            end(socket.peer).into(),
            processes(&socket.processes).into(),
            socket.netns.to_string().into(),
        ]);
        if let Some(carrier) = socket.carrier {
            rows.note("tickets", &format!("in the {carrier} of each datagram"));
        }
        for (of, record) in records(socket) {
            rows.note(of, &record_line(dictionary, record));
        }
    }
    rows.print()
}

fn to_json(dictionary: &Dictionary, sockets: &[SocketStatus]) -> Value {
    let sockets = sockets.iter();
    sockets.map(|it| socket_json(dictionary, it)).collect()
}

fn socket_json(dictionary: &Dictionary, socket: &SocketStatus) -> Value {
    let processes = socket.processes.iter().map(|process| {
        let mut json = json!({ "pid": process.pid, "command": null, "fd": process.fd });
        output::add_name(&mut json, "command", &process.command);
        json
    });
    let mut json = json!({
        "protocol": socket.protocol.to_string(),
        "state": socket.state,
        "local": socket.local.to_string(),
        "peer": has_peer(socket.peer).then(|| socket.peer.to_string()),
        "processes": processes.collect::<Vec<_>>(),
        "uid": socket.uid,
        "netns": socket.netns,
        "cgroup": null,
        "cookie": socket.cookie,
        "syn": record_fields_json(dictionary, socket.opening.as_ref()),
        "latest": record_fields_json(dictionary, socket.latest.as_ref()),
        "sends": record_fields_json(dictionary, socket.sent.as_ref()),
        "tickets": socket.carrier.map(|carrier| carrier.to_string()),
    });
    if let Some(cgroup) = &socket.cgroup {
        output::add_name(&mut json, "cgroup", cgroup);
    }
    json
}

/// An address and port, `*` for any.
fn end(end: SocketAddr) -> String {
    let address = match end.ip() {
        any if any.is_unspecified() => "*".into(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    match end.port() {
        0 => format!("{address}:*"),
        port => format!("{address}:{port}"),
    }
}

fn has_peer(peer: SocketAddr) -> bool {
    peer.port() != 0
}

/// The first process, and how many more, as a name of others.
fn processes(processes: &[Process]) -> Vec<u8> {
    let Some(first) = processes.first() else {
        return b"-".into();
    };
    let mut shown = first.command.as_bytes().to_vec();
    shown.extend(format!("({})", first.pid).bytes());
    let pids: BTreeSet<_> = processes.iter().map(|process| process.pid).collect();
    if pids.len() > 1 {
        shown.extend(format!(" +{}", pids.len() - 1).bytes());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn a_field_is_filtered_for_as_it_is_shown() {
        let dictionary = Dictionary::new(vectors::registry(), &vectors::schemas());
        let filter = |text: &str| FieldFilter::parse(&dictionary, text).unwrap();
        let cases = vectors::cases().into_iter().map(|case| case.bytes);
        for bytes in cases.chain(vectors::random(13, 300)) {
            let Ok(record) = Record::parse(&bytes) else {
                continue;
            };
            let line = record_line(&dictionary, &record);
            for field in dictionary.registry().fields() {
                let name = field.name.as_str();
                let start = format!("{name}=");
                let shown = line.split(' ').find(|shown| shown.starts_with(&start));
                let shown = shown.filter(|shown| !shown.contains('?'));
                assert_eq!(
                    filter(name).is_in(&record),
                    shown.is_some(),
                    "{name}: {line}"
                );
                if let Some(shown) = shown {
                    assert!(filter(shown).is_in(&record), "{shown}: {line}");
                }
            }
            for wanted in ["match=true", "match=false", "tenant=7", "linux=2"] {
                let is_shown = line.split(' ').any(|shown| shown == wanted);
                assert_eq!(filter(wanted).is_in(&record), is_shown, "{wanted}: {line}");
            }
        }
    }
}
