//! Past the host's routing, by the helpers that redirect.

use super::{
    route::{Route, host as to_host},
    routed,
};
use crate::{
    kernel::Action,
    world::{FAR, World, Xdp, mac_text},
};
use anyhow::Result;
use libbpf_sys::BPF_TCX_INGRESS;

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

fn away(world: &mut World, action: fn(u32) -> Action) -> Result<Route> {
    let pair = routed::link(world)?;
    let action = action(pair.near.ifindex);
    Ok(Route::to(pair.number, FAR).doing(|cell| cell.action = action))
}
