//! The way of a single datagram, hop by hop.

use super::lab::{Family, Lab};
use crate::{
    clock::monotonic,
    output::{Table, Unwritten, number, say},
};
use anyhow::{Context, bail};
use pktmeta::{PacketMeta, UdpMeta, builtin};
use pktmeta_bpf::{HookStatus, StatsEnabled, hook::Target, hooks};
use serde_json::{Value, json};
use std::{net::UdpSocket, time::Duration};

/// The records of one packet at each hop.
pub(super) struct Way {
    hops: Vec<Hop>,
    /// From XDP to the application.
    elapsed_ns: u64,
}

struct Hop {
    name: String,
    read: String,
    added: String,
    /// Spent in its program; the kernel's count.
    ns: Option<u64>,
}

impl Way {
    pub(super) fn print(&self) -> Result<(), Unwritten> {
        let mut rows = Table::new(["hop", "read", "added", "ns"]);
        for Hop {
            name,
            read,
            added,
            ns,
        } in &self.hops
        {
            let ns = ns.map_or_else(|| "".into(), number);
            rows.row([name.into(), read.into(), added.into(), ns]);
        }
        say!("One datagram's way:\n")?;
        rows.print()?;
        say!("\nFrom XDP to the application: {} ns\n", self.elapsed_ns)
    }

    pub(super) fn to_json(&self) -> Value {
        let hops = self.hops.iter().map(
            |Hop {
                 name,
                 read,
                 added,
                 ns,
             }| { json!({ "hop": name, "read": read, "added": added, "ns": ns }) },
        );
        json!({ "hops": hops.collect::<Vec<_>>(), "elapsed_ns": self.elapsed_ns })
    }
}

/// Sends one datagram and looks at each hop before and after it.
pub(super) fn follow_one_packet(lab: &Lab) -> anyhow::Result<Way> {
    let family = Family::V4;
    let socket = lab
        .hosts
        .server()
        .run(|| UdpSocket::bind(lab.server(family)))?;
    socket.enable_packet_meta()?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let client = lab
        .hosts
        .client()
        .run(|| UdpSocket::bind(lab.client(family, 1)))?;
    let _stats = StatsEnabled::new().context("count the programs' run time")?;
    let before = hooks(lab)?;
    client
        .send_to(b"follow me", lab.server(family))
        .context("send a datagram")?;
    let received = socket
        .recv_from_meta(&mut [0; 64])
        .context("receive the datagram")?;
    let now = monotonic().as_nanos() as u64; // for centuries
    let meta = received.meta?;
    let after = hooks(lab)?;
    let Some(record) = meta.record() else {
        bail!("the datagram arrived without a record")
    };
    let bytes = record.as_bytes().len();
    let mut hops = Vec::new();
    for hook in hooks::ALL {
        let (Some(read), true) = (hook.reads, hook.target != Target::Command) else {
            continue;
        };
        let added = match hook.writer {
            Some(_) => fields(&meta, |name| hook.name == producer(name)),
            None => format!("ticket for {bytes} bytes"),
        };
        hops.push(Hop {
            name: match hook.target {
                Target::Interface => format!("{} {}", hook.name, lab.interface),
                _ => hook.name.into(),
            },
            read: read.into(),
            added,
            ns: Some(mean_ns(&before, &after, hook.name)).filter(|&ns| ns > 0),
        });
    }
    hops.push(Hop {
        name: "application".into(),
        read: "all fields, by name".into(),
        added: String::new(),
        ns: None,
    });
    let stamp = meta.get(builtin::RX_TIMESTAMP);
    let stamp = stamp.map_or(now, |stamp| stamp.nanoseconds);
    Ok(Way {
        hops,
        elapsed_ns: now.saturating_sub(stamp),
    })
}

fn hooks(lab: &Lab) -> anyhow::Result<Vec<HookStatus>> {
    Ok(lab.datapath.status()?.into_hooks().collect())
}

/// The mean run time of a hop's program in between: for one packet, unless a neighbour discovery
/// came along.
fn mean_ns(before: &[HookStatus], after: &[HookStatus], name: &str) -> u64 {
    let sum = |hooks: &[HookStatus]| {
        let programs = hooks.iter().filter(|status| status.hook.name == name);
        programs
            .flat_map(|status| &status.programs)
            .fold((0, 0), |(ns, runs), program| {
                (ns + program.run_time_ns, runs + program.run_count)
            })
    };
    let (ns_before, runs_before) = sum(before);
    let (ns_after, runs_after) = sum(after);
    (ns_after - ns_before)
        .checked_div(runs_after - runs_before)
        .unwrap_or(0)
}

/// The name of the hook that writes a field. A field that no hook produces is a label.
fn producer(field: &str) -> &'static str {
    let mut hooks = hooks::ALL.iter();
    let found = hooks.find(|hook| hook.produces.contains(&field));
    found.map_or(hooks::xdp::HOOK.name, |hook| hook.name)
}

fn fields(meta: &PacketMeta, wanted: impl Fn(&str) -> bool) -> String {
    let chosen = meta
        .fields()
        .filter(|(field, _)| wanted(field.name.as_str()));
    let shown: Vec<_> = chosen
        .map(|(field, value)| format!("{}={value}", field.name))
        .collect();
    shown.join(" ")
}
