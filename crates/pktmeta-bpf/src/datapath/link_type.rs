//! The first header of an interface's packets at XDP.

use crate::{
    error::{Context, Error, ErrorKind},
    sys,
};

/// The first header of an interface's packets at XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkType {
    /// Ethernet.
    Ethernet,
    /// IP.
    Ip,
}

impl LinkType {
    /// The first header on an interface in the calling thread's network namespace.
    pub(crate) fn of(interface: &str, ifindex: u32) -> Result<Self, Error> {
        let tried = || format!("label the packets of {interface} by their source address");
        let number = sys::interface_type(ifindex).context(tried)?;
        Self::from_arphrd(number).ok_or_else(|| {
            let why = format!("where its packets have one is not known (link type {number})");
            Error::new(ErrorKind::Unsupported, tried(), why).with_remedy(
                "leave the labels away: the fields of --produce work on every interface",
            )
        })
    }

    /// XDP sees a packet from its MAC header on (`bpf_prog_run_generic_xdp`). Tunnels have no XDP
    /// in their drivers, and put their MAC header where the inner IP header is:
    /// `skb_reset_mac_header` in `tun_get_user`, `wg_reset_packet`, `ppp_receive_nonmp_frame`,
    /// `ipip_tunnel_rcv`, `ipip6_rcv` and `__ip6_tnl_rcv`. GRE without a fixed peer leaves it at
    /// the outer IP header (`__ipgre_rcv`); its link type is that of GRE with a peer.
    fn from_arphrd(number: u16) -> Option<Self> {
        // Missing in libc: linux/if_arp.h.
        const ARPHRD_RAWIP: u16 = 519;
        match number {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(Self::Ethernet),
            // tun and WireGuard are NONE.
            libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT => Some(Self::Ip),
            _ => None,
        }
    }
}
