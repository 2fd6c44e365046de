//! Into a tunnel and out of it.

use super::{local, route::Route, routed};
use crate::world::{Device, FAR, NEAR, Pair, V4, V6, Version, World, address, mac_text};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};
use std::net::IpAddr;

/// A type of device that is an end of a tunnel.
pub(super) struct Tunnel {
    /// For `ip link`, with `LOCAL` and `REMOTE` for the ends, and `NUMBER` for one of its own.
    words: &'static str,
    /// Inner packets have Ethernet headers.
    ethernet: bool,
    /// Of these versions, the outer and inner ones.
    outer: Version,
    inner: &'static [Version],
}

pub(super) const VXLAN: Tunnel =
    of_frames("vxlan id NUMBER dstport 4789 local LOCAL remote REMOTE");
pub(super) const GENEVE: Tunnel = of_frames("geneve id NUMBER dstport 6082 remote REMOTE");
pub(super) const GRETAP: Tunnel = of_frames("gretap local LOCAL remote REMOTE");
pub(super) const GRE: Tunnel = of_packets("gre local LOCAL remote REMOTE", V4, &[V4, V6]);
pub(super) const IPIP: Tunnel = of_packets("ipip local LOCAL remote REMOTE", V4, &[V4]);
pub(super) const SIT: Tunnel = of_packets("sit local LOCAL remote REMOTE", V4, &[V6]);
pub(super) const IP6TNL: Tunnel =
    of_packets("ip6tnl mode any local LOCAL remote REMOTE", V6, &[V4, V6]);

const fn of_frames(words: &'static str) -> Tunnel {
    Tunnel {
        words,
        ethernet: true,
        outer: V4,
        inner: &[V4, V6],
    }
}

const fn of_packets(words: &'static str, outer: Version, inner: &'static [Version]) -> Tunnel {
    Tunnel {
        words,
        ethernet: false,
        outer,
        inner,
    }
}

/// The host routes packets into a tunnel that the receiver ends.
pub(super) fn into(world: &mut World, tunnel: &Tunnel) -> Result<Route> {
    let outer = routed::link(world)?;
    let (route, into) = through(world, &outer, tunnel)?;
    world.run(&into, "egress", BPF_TCX_EGRESS);
    Ok(route)
}

/// The sender's packets come to the host in a tunnel.
pub(super) fn out_of(world: &mut World, tunnel: &Tunnel) -> Result<Route> {
    let outer = local::labelled_link(world)?;
    Ok(through(world, &outer, tunnel)?.0)
}

/// A tunnel over a link; also its near end.
fn through(world: &mut World, outer: &Pair, tunnel: &Tunnel) -> Result<(Route, Device)> {
    let inner = world.new_number();
    let [near, far] = [NEAR, FAR].map(|end| address(outer.number, tunnel.outer, end));
    let device = |local: IpAddr, remote: IpAddr, mac: &str| {
        let words = tunnel.words.replace("LOCAL", &local.to_string());
        let words = words.replace("REMOTE", &remote.to_string());
        let words = words.replace("NUMBER", &(100 + u32::from(inner)).to_string());
        let mac = if tunnel.ethernet { mac } else { "" };
        format!("{mac} type {words}")
    };
    let into = world.device(&outer.near.netns, &device(near, far, ""))?;
    let mac = format!("address {}", mac_text());
    let out = world.device(&outer.far.netns, &device(far, near, &mac))?;
    world.add_addresses(&into, inner, NEAR)?;
    world.add_addresses(&out, inner, FAR)?;
    world.run(&out, "ingress", BPF_TCX_INGRESS);
    let to = tunnel
        .inner
        .iter()
        .map(|version| address(inner, *version, FAR));
    Ok((Route::to_addresses(to.collect()), into))
}
