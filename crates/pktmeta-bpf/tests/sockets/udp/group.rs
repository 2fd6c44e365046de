//! Multicast.

use crate::lab::{Lab, tenant_address, version_of};
use pktmeta_testkit::link::IpVersion;
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A multicast group, and a port that all its sockets share.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    address: SocketAddr,
}

impl Group {
    /// One that is nobody's (RFC 6676), without a port yet.
    pub(crate) fn of(version: IpVersion) -> Self {
        let address: IpAddr = match version {
            IpVersion::V4 => Ipv4Addr::new(233, 252, 0, 1).into(),
            IpVersion::V6 => Ipv6Addr::new(0xff35, 0x20, 0x2001, 0xdb8, 0, 0, 0, 1).into(),
        };
        Self::at((address, 0).into())
    }

    /// That of a socket which joined it.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(crate) fn address(self) -> SocketAddr {
        self.address
    }

    /// A socket of the server that gets what is sent to the group.
    pub(crate) fn join(self, lab: &Lab) -> UdpSocket {
        let IpAddr::V4(interface) = lab.hosts.server_ip(IpVersion::V4) else {
            panic!("an address of IPv4 that is not");
        };
        lab.udp_server_at(self.address, |socket| {
            socket.set_reuse_address(true)?;
            match self.address.ip() {
                IpAddr::V4(group) => socket.join_multicast_v4(&group, &interface),
                IpAddr::V6(group) => socket.join_multicast_v6(&group, lab.hosts.server_ifindex()),
            }
        })
    }

    /// A socket of the client that can send to the group as `tenant`.
    pub(crate) fn sender(self, lab: &Lab, tenant: u32) -> UdpSocket {
        let version = version_of(self.address);
        let client = lab.udp_client(version, tenant);
        let socket = SockRef::from(&client);
        let set = match tenant_address(version, tenant) {
            IpAddr::V4(address) => socket.set_multicast_if_v4(&address),
            IpAddr::V6(_) => socket.set_multicast_if_v6(lab.hosts.client_ifindex()),
        };
        set.unwrap();
        client
    }
}
