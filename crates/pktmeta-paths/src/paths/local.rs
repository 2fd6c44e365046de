//! To a socket of the host on which packets come in.

use super::route::{Route, host};
use crate::{
    kernel::Action,
    world::{FAR, Pair, World, Xdp},
};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

pub(super) fn native(_: &mut World) -> Result<Route> {
    Ok(host())
}

pub(super) fn generic(world: &mut World) -> Result<Route> {
    let pair = link(world)?;
    world.comes_in(&pair.far, Xdp::Generic)?;
    Ok(Route::to(pair.number, FAR))
}

/// XDP sees a tag in the frame, which the kernel takes out and so moves the MAC header.
pub(super) fn tagged(world: &mut World) -> Result<Route> {
    tagged_by(world, false)
}

pub(super) fn tagged_with_offload(world: &mut World) -> Result<Route> {
    tagged_by(world, true)
}

fn tagged_by(world: &mut World, offload: bool) -> Result<Route> {
    let pair = link(world)?;
    world.set_vlan_offload(&pair.near, offload)?;
    world.run(&pair.near, "tag", BPF_TCX_EGRESS);
    world.comes_in(&pair.far, Xdp::Native)?;
    // Behind the programs that look: there is no device for the VLAN.
    world.run(&pair.far, "untag", BPF_TCX_INGRESS);
    Ok(Route::to(pair.number, FAR))
}

pub(super) fn from_vlan(world: &mut World) -> Result<Route> {
    from_vlan_device(world, "reorder_hdr on")
}

pub(super) fn from_vlan_header_kept(world: &mut World) -> Result<Route> {
    from_vlan_device(world, "reorder_hdr off")
}

fn from_vlan_device(world: &mut World, how: &str) -> Result<Route> {
    let (sender, receiver) = (world.sender.clone(), world.host.clone());
    let pair = world.bare_pair(&sender, &receiver)?;
    world.set_vlan_offload(&pair.near, false)?;
    let near = world.device(&sender, &format!("link {} type vlan id 5", pair.near.name))?;
    let words = format!("link {} type vlan id 5 {how}", pair.far.name);
    let far = world.device(&receiver, &words)?;
    world.add_addresses(&near, pair.number, crate::world::NEAR)?;
    world.add_addresses(&far, pair.number, FAR)?;
    world.comes_in(&pair.far, Xdp::Native)?;
    world.run(&far, "ingress", BPF_TCX_INGRESS);
    Ok(Route::to(pair.number, FAR))
}

/// To a device on top of the host's, that takes packets out by their address.
pub(super) fn from_macvlan(world: &mut World) -> Result<Route> {
    let (sender, host) = (world.sender.clone(), world.host.clone());
    let pair = world.bare_pair(&sender, &host)?;
    let words = format!("link {} type macvlan mode bridge", pair.far.name);
    let top = world.device(&host, &words)?;
    world.add_addresses(&pair.near, pair.number, crate::world::NEAR)?;
    world.add_addresses(&top, pair.number, FAR)?;
    world.comes_in(&pair.far, Xdp::Native)?;
    world.run(&top, "ingress", BPF_TCX_INGRESS);
    Ok(Route::to(pair.number, FAR))
}

/// XDP hands packets to another CPU.
pub(super) fn by_another_cpu(world: &mut World) -> Result<Route> {
    let pair = labelled_link(world)?;
    world.compute_checksums(&pair.near)?;
    Ok(Route::to(pair.number, FAR).doing(|cell| cell.action = Action::XdpCpu))
}

/// A link of the sender's to the host, whose XDP program labels.
pub(super) fn labelled_link(world: &mut World) -> Result<Pair> {
    let pair = link(world)?;
    world.comes_in(&pair.far, Xdp::Native)?;
    Ok(pair)
}

fn link(world: &mut World) -> Result<Pair> {
    let (sender, host) = (world.sender.clone(), world.host.clone());
    world.pair(&sender, &host)
}
