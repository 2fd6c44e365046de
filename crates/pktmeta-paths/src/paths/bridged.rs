//! Through a bridge of the host to a socket of the receiver.

use super::route::Route;
use crate::world::{FAR, NEAR, World, Xdp};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

pub(super) fn plain(world: &mut World) -> Result<Route> {
    bridge(world, None)
}

pub(super) fn tagged_with_offload(world: &mut World) -> Result<Route> {
    bridge(world, Some(true))
}

/// The kernel takes the tag out of the frame, and puts it in again for a port that cannot.
pub(super) fn tagged(world: &mut World) -> Result<Route> {
    bridge(world, Some(false))
}

/// `tagged` with VLAN offload or without, if at all.
fn bridge(world: &mut World, tagged: Option<bool>) -> Result<Route> {
    let (sender, host) = (world.sender.clone(), world.host.clone());
    let receiver = world.receiver.clone();
    let before = world.bare_pair(&sender, &host)?;
    let behind = world.bare_pair(&host, &receiver)?;
    let bridge = world.device(&host, "type bridge")?;
    for port in [&before.far, &behind.near] {
        world.ip(
            &host,
            &format!("link set {} master {}", port.name, bridge.name),
        )?;
    }
    // A bridge takes what is for a port's address for its own.
    for (port, mac) in [
        (&before.far, "02:00:00:00:00:03"),
        (&behind.near, "02:00:00:00:00:04"),
    ] {
        world.ip(&host, &format!("link set {} address {mac}", port.name))?;
    }
    world.add_addresses(&before.near, before.number, NEAR)?;
    world.add_addresses(&behind.far, before.number, FAR)?;
    if let Some(offload) = tagged {
        for port in [&before.near, &before.far, &behind.near, &behind.far] {
            world.set_vlan_offload(port, offload)?;
        }
        world.run(&before.near, "tag", BPF_TCX_EGRESS);
        world.run(&behind.far, "untag", BPF_TCX_INGRESS);
    }
    world.comes_in(&before.far, Xdp::Native)?;
    world.goes_on(&behind);
    Ok(Route::to(before.number, FAR))
}
