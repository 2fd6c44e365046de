//! The paths that packets take: a table, to which another is added by one entry.

mod bridged;
mod forged;
mod local;
mod redirected;
mod route;
mod routed;
mod tunnelled;

pub(crate) use route::{Origin, Route};

use crate::{kernel::CELLS, world::World};
use anyhow::Result;

/// A way from the sender to a socket.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// Makes its devices. An error says what the kernel does not have.
    pub(crate) build: fn(&mut World) -> Result<Route>,
}

/// All of them. The number of a path is its cell's.
pub(crate) const PATHS: &[Path] = &[
    path("local", local::native),
    path("local, generic XDP", local::generic),
    path("local, tag in the frame", local::tagged),
    path("local, tag beside it", local::tagged_with_offload),
    path("routed", routed::plain),
    path("routed, XDP looks", routed::looked_at),
    path("routed, XDP labels", routed::labelled_again),
    path("routed, XDP reserves", routed::reserved_again),
    path("routed, DNAT", routed::dnat),
    path("routed, masquerade", routed::masquerade),
    path("routed, macvlan", routed::macvlan),
    path("routed, VLAN", routed::vlan),
    path("routed, VLAN, in frame", routed::vlan_in_frame),
    path("routed, VLAN, header on", routed::vlan_header_kept),
    path("from a VLAN", local::from_vlan),
    path("from a VLAN, header on", local::from_vlan_header_kept),
    path("bridged", bridged::plain),
    path("bridged, tag beside it", bridged::tagged_with_offload),
    path("bridged, tag in frame", bridged::tagged),
    path("redirect", redirected::to_egress),
    path("redirect, ingress", redirected::to_ingress),
    path("redirect, neigh", redirected::to_neighbour),
    path("redirect, peer", redirected::to_peer),
    path("redirect, clone", redirected::cloned),
    path("redirect, XDP", redirected::by_xdp),
    path("into vxlan and out", tunnelled::into_vxlan),
    path("out of vxlan", tunnelled::out_of_vxlan),
    path("forged by a container", forged::by_container),
    path("forged, vxlan", forged::vxlan),
    path("forged, vxlan over IPv4", forged::vxlan_over_ipv4),
    path("forged, geneve", forged::geneve),
    path("forged, gre", forged::gre),
    path("forged, gretap", forged::gretap),
    path("forged, ipip", forged::ipip),
    path("forged, sit", forged::sit),
    path("forged, ip6tnl", forged::ip6tnl),
    path("forged, ip6gre", forged::ip6gre),
    path("forged, ip6gretap", forged::ip6gretap),
    path("forged, fou", forged::fou),
];

const _: () = assert!(PATHS.len() <= CELLS);

const fn path(name: &'static str, build: fn(&mut World) -> Result<Route>) -> Path {
    Path { name, build }
}
