//! The paths that packets take: a table, to which another is added by one entry.

mod bridged;
mod forged;
mod local;
mod loss;
mod redirected;
mod route;
mod routed;
mod tunnelled;

pub use loss::Loss;
pub(crate) use loss::SHARED;
pub(crate) use route::{Origin, Route};

use crate::{kernel::CELLS, world::World};
use anyhow::Result;
use loss::{COPIED, INTO_TUNNEL, NO_SECOND_LOOK, OUT_OF_TUNNEL, RESERVED, TAG_IN_FRAME, TAG_KEPT};
use tunnelled::{GENEVE, GRE, GRETAP, IP6TNL, IPIP, SIT, VXLAN, into, out_of};

/// A way from the sender to a socket.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// Makes its devices. An error says what the kernel does not have.
    pub(crate) build: fn(&mut World) -> Result<Route>,
    pub(crate) loss: Option<Loss>,
}

/// All of them. The number of a path is its cell's.
pub(crate) const PATHS: &[Path] = &[
    path("local", local::native),
    path("local, generic XDP", local::generic),
    path("local, tag in the frame", local::tagged),
    path("local, tag beside it", local::tagged_with_offload),
    path("local, another CPU", local::by_another_cpu),
    path("from a macvlan", local::from_macvlan),
    path("routed", routed::plain),
    path("routed, XDP looks", routed::looked_at).loses(NO_SECOND_LOOK),
    path("routed, XDP labels", routed::labelled_again).loses(NO_SECOND_LOOK),
    path("routed, XDP reserves", routed::reserved_again).loses(RESERVED),
    path("routed, DNAT", routed::dnat),
    path("routed, masquerade", routed::masquerade),
    path("routed, macvlan", routed::macvlan),
    path("routed, VLAN", routed::vlan),
    path("routed, VLAN, in frame", routed::vlan_in_frame).loses(TAG_IN_FRAME),
    path("routed, VLAN, header on", routed::vlan_header_kept).loses(TAG_KEPT),
    path("from a VLAN", local::from_vlan),
    path("from a VLAN, header on", local::from_vlan_header_kept).loses(TAG_KEPT),
    path("bridged", bridged::plain),
    path("bridged, tag beside it", bridged::tagged_with_offload),
    path("bridged, tag in frame", bridged::tagged).loses(TAG_IN_FRAME),
    path("redirect", redirected::to_egress),
    path("redirect, ingress", redirected::to_ingress),
    path("redirect, neigh", redirected::to_neighbour),
    path("redirect, peer", redirected::to_peer),
    path("redirect, clone", redirected::cloned),
    path("redirect, XDP", redirected::by_xdp),
    path("redirect, mirred", redirected::by_mirred),
    path("redirect, ifb", redirected::by_ifb),
    path("redirect, nft fwd", redirected::by_nft_fwd),
    path("redirect, nft dup", redirected::by_nft_dup).loses(COPIED),
    path("into vxlan and out", |world| into(world, &VXLAN)).loses(INTO_TUNNEL),
    path("into geneve and out", |world| into(world, &GENEVE)).loses(INTO_TUNNEL),
    path("into gretap and out", |world| into(world, &GRETAP)).loses(INTO_TUNNEL),
    path("into gre and out", |world| into(world, &GRE)).loses(INTO_TUNNEL),
    path("into ipip and out", |world| into(world, &IPIP)).loses(INTO_TUNNEL),
    path("into sit and out", |world| into(world, &SIT)).loses(INTO_TUNNEL),
    path("into ip6tnl and out", |world| into(world, &IP6TNL)).loses(INTO_TUNNEL),
    path("out of vxlan", |world| out_of(world, &VXLAN)).loses(OUT_OF_TUNNEL),
    path("out of geneve", |world| out_of(world, &GENEVE)).loses(OUT_OF_TUNNEL),
    path("out of gretap", |world| out_of(world, &GRETAP)).loses(OUT_OF_TUNNEL),
    path("out of gre", |world| out_of(world, &GRE)).loses(OUT_OF_TUNNEL),
    path("out of ipip", |world| out_of(world, &IPIP)).loses(OUT_OF_TUNNEL),
    path("out of sit", |world| out_of(world, &SIT)).loses(OUT_OF_TUNNEL),
    path("out of ip6tnl", |world| out_of(world, &IP6TNL)).loses(OUT_OF_TUNNEL),
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

/// Where the kernel is known to lose records on the path of this name.
#[must_use]
pub fn known_loss(path: &str) -> Option<&'static Loss> {
    let path = PATHS.iter().find(|other| other.name == path)?;
    path.loss.as_ref()
}

const _: () = assert!(PATHS.len() <= CELLS);

const fn path(name: &'static str, build: fn(&mut World) -> Result<Route>) -> Path {
    let loss = None;
    Path { name, build, loss }
}

impl Path {
    const fn loses(mut self, loss: Loss) -> Self {
        self.loss = Some(loss);
        self
    }
}
