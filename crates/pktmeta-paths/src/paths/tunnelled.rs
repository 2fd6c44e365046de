//! Into a tunnel and out of it.

use super::{route::Route, routed};
use crate::world::{FAR, NEAR, V4, World, address, mac_text};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

/// The host routes packets into a tunnel that the receiver ends.
pub(super) fn into_vxlan(world: &mut World) -> Result<Route> {
    let outer = routed::link(world)?;
    let inner = world.new_number();
    let (host, receiver) = (world.host.clone(), world.receiver.clone());
    let [near, far] = [NEAR, FAR].map(|end| address(outer.number, V4, end));
    let to = |remote| format!("type vxlan id 7 dstport 4789 remote {remote}");
    let into = world.device(&host, &format!("{} local {near}", to(far)))?;
    let out = world.device(
        &receiver,
        &format!("address {} {} local {far}", mac_text(), to(near)),
    )?;
    world.add_addresses(&into, inner, NEAR)?;
    world.add_addresses(&out, inner, FAR)?;
    world.run(&into, "egress", BPF_TCX_EGRESS);
    world.run(&out, "ingress", BPF_TCX_INGRESS);
    Ok(Route::to(inner, FAR))
}

/// The sender's packets come to the host in a tunnel.
pub(super) fn out_of_vxlan(world: &mut World) -> Result<Route> {
    let inner = world.new_number();
    let (sender, host) = (world.sender.clone(), world.host.clone());
    let [near, far] = [NEAR, FAR].map(|end| address(0, V4, end));
    let to = |remote| format!("type vxlan id 8 dstport 4790 remote {remote}");
    let into = world.device(&sender, &format!("{} local {near}", to(far)))?;
    let out = world.device(
        &host,
        &format!("address {} {} local {far}", mac_text(), to(near)),
    )?;
    world.add_addresses(&into, inner, NEAR)?;
    world.add_addresses(&out, inner, FAR)?;
    world.run(&out, "ingress", BPF_TCX_INGRESS);
    Ok(Route::to(inner, FAR))
}
