//! Where the kernel loses records, why, and what to do instead.

/// Where the kernel loses records on a path.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The kernel's function, and what it does.
    pub why: &'static str,
    /// What keeps the record, or has the same effect.
    pub remedy: &'static str,
}

/// XDP on a device behind the first.
pub(crate) const NO_SECOND_LOOK: Loss = Loss {
    why: "veth_convert_skb_to_xdp_buff hands XDP a packet without its metadata; TC sees it again",
    remedy: "read fields at TC there, or label anew in XDP",
};
pub(crate) const RESERVED: Loss = Loss {
    why: "a second bpf_xdp_adjust_meta makes its own room the packet's metadata",
    remedy: "reserve no metadata there, or set the fields anew",
};
pub(crate) const TAG_IN_FRAME: Loss = Loss {
    why: "__vlan_hwaccel_push_inside moves the MAC addresses over the record's end",
    remedy: "let the device put tags into frames: ethtool -K DEVICE txvlan on",
};
pub(crate) const TAG_KEPT: Loss = Loss {
    why: "a VLAN device with reorder_hdr off puts the tag back where the record's end is",
    remedy: "ip link set DEVICE type vlan reorder_hdr on",
};
pub(crate) const COPIED: Loss = Loss {
    why: "skb_cow_head gives the copy buffers of its own, and pskb_expand_head clears metadata",
    remedy: "redirect the packet itself (fwd), or label the copy where it comes in",
};
/// On any path, of packets that a packet socket holds on to.
pub(crate) const SHARED: Loss = Loss {
    why: "the kernel copies a packet that a packet socket shares before it changes its headers, \
          and pskb_expand_head clears metadata",
    remedy: "capture at another device, or with a filter that takes fewer packets",
};
pub(crate) const INTO_TUNNEL: Loss = Loss {
    why: "the tunnel's outer headers are written where the record is",
    remedy: "read fields at egress of the tunnel's device, before they are",
};
pub(crate) const OUT_OF_TUNNEL: Loss = Loss {
    why: "metadata is what ends at the MAC header: behind decapsulation, outer headers",
    remedy: "label where inner packets come out: pktmeta up --iface with the tunnel's device",
};
