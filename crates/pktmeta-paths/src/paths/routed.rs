//! Through the host's routing to a socket of the receiver.

use super::route::Route;
use crate::{
    kernel::Again,
    world::{FAR, NEAR, NOBODY, Pair, V4, V6, World, Xdp, address},
};
use anyhow::Result;
use libbpf_sys::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

pub(super) fn plain(world: &mut World) -> Result<Route> {
    let pair = link(world)?;
    Ok(Route::to(pair.number, FAR))
}

pub(super) fn looked_at(world: &mut World) -> Result<Route> {
    again(world, Again::Look)
}

pub(super) fn labelled_again(world: &mut World) -> Result<Route> {
    again(world, Again::Label)
}

/// Of another size than our area: what stands there may be anything, but is no record of ours.
pub(super) fn reserved_again(world: &mut World) -> Result<Route> {
    again(world, Again::Reserve(4))
}

fn again(world: &mut World, again: Again) -> Result<Route> {
    let pair = link(world)?;
    world.run_xdp(&pair.far, "again", Xdp::Native);
    Ok(Route::to(pair.number, FAR).doing(|cell| cell.again = again))
}

/// To addresses that nobody has, which the host makes the receiver's.
pub(super) fn dnat(world: &mut World) -> Result<Route> {
    let pair = link(world)?;
    let host = world.host.clone();
    for (version, table) in [(V4, "ip"), (V6, "ip6")] {
        let [from, to] = [NOBODY, FAR].map(|end| address(pair.number, version, end));
        world.nft(
            &host,
            &format!(
                "table {table} to_receiver {{ chain before {{ type nat hook prerouting priority \
                 -100; {table} daddr {from} dnat to {to}\n }}\n }}"
            ),
        )?;
    }
    Ok(Route::to(pair.number, NOBODY))
}

pub(super) fn masquerade(world: &mut World) -> Result<Route> {
    let pair = link(world)?;
    let host = world.host.clone();
    for (version, table) in [(V4, "ip"), (V6, "ip6")] {
        let to = address(pair.number, version, FAR);
        world.nft(
            &host,
            &format!(
                "table {table} as_host {{ chain behind {{ type nat hook postrouting priority \
                 100; {table} daddr {to} masquerade\n }}\n }}"
            ),
        )?;
    }
    Ok(Route::to(pair.number, FAR))
}

/// Out of a macvlan device on top of the link's.
pub(super) fn macvlan(world: &mut World) -> Result<Route> {
    on_top(world, "type macvlan mode bridge", None)
}

pub(super) fn vlan(world: &mut World) -> Result<Route> {
    on_top(world, "type vlan id 5", Some(true))
}

/// The link's device cannot put tags into frames: the kernel does.
pub(super) fn vlan_in_frame(world: &mut World) -> Result<Route> {
    on_top(world, "type vlan id 5", Some(false))
}

/// The VLAN device puts tags into frames.
pub(super) fn vlan_header_kept(world: &mut World) -> Result<Route> {
    on_top(world, "type vlan id 5 reorder_hdr off", Some(true))
}

/// Out of a device on top of the link's; `tagged` with VLAN offload or without, if at all.
fn on_top(world: &mut World, words: &str, tagged: Option<bool>) -> Result<Route> {
    let (host, receiver) = (world.host.clone(), world.receiver.clone());
    let pair = world.bare_pair(&host, &receiver)?;
    let top = world.device(&host, &format!("link {} {words}", pair.near.name))?;
    world.add_addresses(&top, pair.number, NEAR)?;
    world.run(&top, "egress", BPF_TCX_EGRESS);
    world.add_addresses(&pair.far, pair.number, FAR)?;
    world.add_neighbours(&top, pair.number, FAR)?;
    if let Some(offload) = tagged {
        world.set_vlan_offload(&pair.near, offload)?;
        // The receiver does not know of the VLAN, and answers elsewhere.
        world.run(&pair.far, "untag", BPF_TCX_INGRESS);
    }
    world.goes_on(&pair);
    Ok(Route::to(pair.number, FAR))
}

pub(super) fn link(world: &mut World) -> Result<Pair> {
    let (host, receiver) = (world.host.clone(), world.receiver.clone());
    let pair = world.pair(&host, &receiver)?;
    world.goes_on(&pair);
    Ok(pair)
}
