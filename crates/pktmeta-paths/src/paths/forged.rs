//! Records of somebody's choice, where the kernel then looks for ours.

use super::route::{Origin, Route};
use crate::{
    forger::{Forger, Outer, Tunnel},
    kernel::{Action, Label},
    world::{FAR, NEAR, NOBODY, V4, V6, Version, World, Xdp, address, mac_text},
};
use anyhow::Result;
use libbpf_sys::BPF_TCX_INGRESS;

/// A container's XDP program sends frames with a record in front into the host's device.
pub(super) fn by_container(world: &mut World) -> Result<Route> {
    let (sender, host) = (world.sender.clone(), world.host.clone());
    let container = world.container.clone();
    let before = world.pair(&sender, &container)?;
    let behind = world.pair(&container, &host)?;
    world.run_xdp(&before.far, "label", Xdp::Native);
    world.run_xdp(&behind.far, "again", Xdp::Native);
    world.run(&behind.far, "ingress", BPF_TCX_INGRESS);
    world.compute_checksums(&before.near)?;
    world.route(&sender, &behind, &before)?;
    Ok(Route::to(behind.number, FAR).doing(|cell| {
        cell.label = Label::Forged;
        cell.action = Action::XdpRedirect(behind.near.ifindex);
    }))
}

pub(super) fn vxlan(world: &mut World) -> Result<Route> {
    const PORT: u16 = 4791;
    let words = ethernet(&format!(
        "vxlan id 9 dstport {PORT} {} udp6zerocsumrx",
        ends(V6, NEAR)
    ));
    tunnel(
        world,
        &words,
        V4,
        NEAR,
        Outer::V6,
        Tunnel::Vxlan { port: PORT, id: 9 },
    )
}

pub(super) fn vxlan_over_ipv4(world: &mut World) -> Result<Route> {
    const PORT: u16 = 4792;
    let words = ethernet(&format!("vxlan id 10 dstport {PORT} {}", ends(V4, NEAR)));
    tunnel(
        world,
        &words,
        V4,
        NEAR,
        Outer::V4,
        Tunnel::Vxlan { port: PORT, id: 10 },
    )
}

pub(super) fn geneve(world: &mut World) -> Result<Route> {
    let remote = address(0, V4, NEAR);
    let words = ethernet(&format!("geneve id 11 dstport 6081 remote {remote}"));
    tunnel(
        world,
        &words,
        V4,
        NEAR,
        Outer::V4,
        Tunnel::Geneve { port: 6081, id: 11 },
    )
}

pub(super) fn gre(world: &mut World) -> Result<Route> {
    let words = format!("type gre {}", ends(V4, NEAR));
    tunnel(
        world,
        &words,
        V4,
        NEAR,
        Outer::V4,
        Tunnel::Gre { ethernet: false },
    )
}

pub(super) fn gretap(world: &mut World) -> Result<Route> {
    let words = ethernet(&format!("gretap {}", ends(V4, NEAR)));
    tunnel(
        world,
        &words,
        V4,
        NEAR,
        Outer::V4,
        Tunnel::Gre { ethernet: true },
    )
}

pub(super) fn ipip(world: &mut World) -> Result<Route> {
    let words = format!("type ipip {}", ends(V4, NEAR));
    tunnel(world, &words, V4, NEAR, Outer::V4, Tunnel::Ip)
}

pub(super) fn sit(world: &mut World) -> Result<Route> {
    let words = format!("type sit {}", ends(V4, NEAR));
    tunnel(world, &words, V6, NEAR, Outer::V4, Tunnel::Ip)
}

pub(super) fn ip6tnl(world: &mut World) -> Result<Route> {
    let words = format!("type ip6tnl mode any {}", ends(V6, NEAR));
    tunnel(world, &words, V6, NEAR, Outer::V6, Tunnel::Ip)
}

pub(super) fn ip6gre(world: &mut World) -> Result<Route> {
    let words = format!("type ip6gre {}", ends(V6, NEAR));
    tunnel(
        world,
        &words,
        V6,
        NEAR,
        Outer::V6,
        Tunnel::Gre { ethernet: false },
    )
}

pub(super) fn ip6gretap(world: &mut World) -> Result<Route> {
    let words = ethernet(&format!("ip6gretap {}", ends(V6, NEAR)));
    tunnel(
        world,
        &words,
        V6,
        NEAR,
        Outer::V6,
        Tunnel::Gre { ethernet: true },
    )
}

/// IP behind UDP. From another address: a device for the same two would be the one of ipip.
pub(super) fn fou(world: &mut World) -> Result<Route> {
    const PORT: u16 = 5555;
    let host = world.host.clone();
    world.ip(&host, &format!("fou add port {PORT} ipproto 4"))?;
    let words = format!("type ipip {}", ends(V4, NOBODY));
    tunnel(
        world,
        &words,
        V4,
        NOBODY,
        Outer::V4,
        Tunnel::Fou { port: PORT },
    )
}

/// A device of the host at which a tunnel ends, and who sends to it. The packets' `inner` version.
fn tunnel(
    world: &mut World,
    words: &str,
    inner: Version,
    from: u8,
    outer: Outer,
    tunnel: Tunnel,
) -> Result<Route> {
    let host = world.host.clone();
    let device = world.device(&host, words)?;
    let number = world.new_number();
    world.add_addresses(&device, number, FAR)?;
    world.run(&device, "ingress", BPF_TCX_INGRESS);
    let outer_version = match outer {
        Outer::V4 => V4,
        Outer::V6 => V6,
    };
    let [near, far] = [NEAR, FAR].map(|end| address(number, inner, end));
    let forger = Forger {
        outer,
        from: address(0, outer_version, from),
        to: address(0, outer_version, FAR),
        tunnel,
        inner_from: near,
        inner_to: far,
    };
    let mut route = Route::to_addresses(vec![far]).datagrams_only();
    route.from = Origin::Forger(forger);
    Ok(route)
}

/// A device with Ethernet headers, of a type.
fn ethernet(kind: &str) -> String {
    format!("address {} type {kind}", mac_text())
}

/// The tunnel's ends: the sender, or who it claims to be, and the host.
fn ends(version: Version, remote: u8) -> String {
    let [local, remote] = [FAR, remote].map(|end| address(0, version, end));
    format!("local {local} remote {remote}")
}
