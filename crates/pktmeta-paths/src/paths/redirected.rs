//! Past the host's routing, by the helpers that redirect.

use super::{
    local,
    route::{Route, host as to_host},
    routed,
};
use crate::{
    kernel::Action,
    world::{Device, FAR, NEAR, Pair, World, Xdp, mac_text},
};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

pub(super) fn to_egress(world: &mut World) -> Result<Route> {
    away(world, Action::Redirect)
}

pub(super) fn to_neighbour(world: &mut World) -> Result<Route> {
    away(world, Action::RedirectNeigh)
}

/// Into the receiver's namespace without a stop.
pub(super) fn to_peer(world: &mut World) -> Result<Route> {
    away(world, Action::RedirectPeer)
}

pub(super) fn cloned(world: &mut World) -> Result<Route> {
    away(world, Action::CloneRedirect)
}

/// Native XDP at the other end takes over what XDP here sends.
pub(super) fn by_xdp(world: &mut World) -> Result<Route> {
    let (sender, host) = (world.sender.clone(), world.host.clone());
    let before = world.pair(&sender, &host)?;
    world.comes_in(&before.far, Xdp::Native)?;
    let behind = routed::link(world)?;
    world.run_xdp(&behind.far, "again", Xdp::Native);
    world.compute_checksums(&before.near)?;
    world.route(&sender, &behind, &before)?;
    let action = Action::XdpRedirect(behind.near.ifindex);
    Ok(Route::to(behind.number, FAR).doing(|cell| cell.action = action))
}

/// Comes in once more, by another device of the host.
pub(super) fn to_ingress(world: &mut World) -> Result<Route> {
    let (host_netns, receiver) = (world.host.clone(), world.receiver.clone());
    let pair = world.bare_pair(&host_netns, &receiver)?;
    let name = &pair.near.name;
    world.ip(
        &host_netns,
        &format!("link set {name} address {}", mac_text()),
    )?;
    world.run(&pair.near, "ingress", BPF_TCX_INGRESS);
    let action = Action::RedirectIngress(pair.near.ifindex);
    Ok(to_host().doing(|cell| cell.action = action))
}

pub(super) fn by_mirred(world: &mut World) -> Result<Route> {
    past_routing(world, |world, from, to| {
        mirred(
            world,
            &from.far,
            &format!("egress redirect dev {}", to.near.name),
        )
    })
}

/// Through a device that is there to shape what comes in, and back.
pub(super) fn by_ifb(world: &mut World) -> Result<Route> {
    let pair = local::labelled_link(world)?;
    let ifb = world.device(&pair.far.netns, "type ifb")?;
    mirred(
        world,
        &pair.far,
        &format!("egress redirect dev {}", ifb.name),
    )?;
    world.run(&ifb, "egress", BPF_TCX_EGRESS);
    Ok(Route::to(pair.number, FAR))
}

pub(super) fn by_nft_fwd(world: &mut World) -> Result<Route> {
    past_routing(world, |world, from, to| {
        netdev(world, from, &format!("fwd to {}", to.near.name))
    })
}

pub(super) fn by_nft_dup(world: &mut World) -> Result<Route> {
    past_routing(world, |world, from, to| {
        netdev(world, from, &format!("dup to {}; drop", to.near.name))
    })
}

/// From a link of its own to the receiver's by what `redirect` sets up on the first.
fn past_routing(
    world: &mut World,
    redirect: impl FnOnce(&World, &Pair, &Pair) -> Result<()>,
) -> Result<Route> {
    let before = local::labelled_link(world)?;
    let behind = routed::link(world)?;
    // What asks for a neighbour, or answers, would be redirected too.
    let near = format!("link set {} address {}", before.near.name, mac_text());
    world.ip(&before.near.netns, &near)?;
    world.add_neighbours(&before.near, before.number, FAR)?;
    world.add_neighbours(&before.far, before.number, NEAR)?;
    redirect(world, &before, &behind)?;
    world.route(&before.near.netns, &behind, &before)?;
    Ok(Route::to(behind.number, FAR))
}

fn mirred(world: &World, device: &Device, action: &str) -> Result<()> {
    let (netns, name) = (&device.netns, &device.name);
    world.tc(netns, &format!("qdisc add dev {name} clsact"))?;
    let filter = format!(
        "filter add dev {name} ingress protocol ip u32 match u32 0 0 action mirred {action}"
    );
    world.tc(netns, &filter)?;
    world.tc(netns, &filter.replace("protocol ip ", "protocol ipv6 "))
}

fn netdev(world: &World, pair: &Pair, action: &str) -> Result<()> {
    let name = &pair.far.name;
    let hook = format!("type filter hook ingress device {name} priority 0");
    let chain = format!("table netdev {name} {{ chain in {{ {hook}; {action}\n }}\n }}");
    world.nft(&pair.far.netns, &chain)
}

fn away(world: &mut World, action: fn(u32) -> Action) -> Result<Route> {
    let pair = routed::link(world)?;
    let action = action(pair.near.ifindex);
    Ok(Route::to(pair.number, FAR).doing(|cell| cell.action = action))
}
