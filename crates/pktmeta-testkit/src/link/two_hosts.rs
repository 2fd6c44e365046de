//! A client and a server, one wire apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::device::{Link, VethPair};
use crate::Result;
use crate::netns::Netns;

/// Links come up within milliseconds; on a machine that needs longer something else is wrong.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Which of the two internet protocols.
///
/// Exhaustive: there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Both, to loop over.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// A client and a server in network namespaces of their own, joined by a veth pair. They can talk
/// as soon as [`new`](Self::new) returns: the link is up, addresses are usable, and the hosts know
/// each other's Ethernet addresses, so that the first packet a test sends is the first packet it
/// sees (but for IPv6's multicast listener reports, which the kernel sends on every link).
///
/// | host | device | addresses |
/// |---|---|---|
/// | client | `veth-client` | 192.0.2.1/24, 2001:db8::1/64 |
/// | server | `veth-server` | 192.0.2.2/24, 2001:db8::2/64 |
#[derive(Debug, Clone)]
pub struct TwoHosts {
    client: Netns,
    server: Netns,
    wire: VethPair,
}

impl TwoHosts {
    /// IPv4 address of the client.
    pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// IPv4 address of the server.
    pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    /// IPv6 address of the client.
    pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    /// IPv6 address of the server.
    pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    /// Name of the client's device.
    pub const CLIENT_LINK: &str = "veth-client";
    /// Name of the server's device.
    pub const SERVER_LINK: &str = "veth-server";

    /// Makes both hosts and waits until they can talk.
    ///
    /// # Errors
    /// Not root, no veth driver, IPv6 switched off, or the link does not come up within 10 seconds.
    ///
    /// ```no_run
    /// use pktmeta_testkit::link::{IpVersion, TwoHosts};
    /// use std::net::UdpSocket;
    ///
    /// let hosts = TwoHosts::new()?;
    /// let server = hosts.server_ip(IpVersion::V6);
    /// let receiver = hosts.server().run(|| UdpSocket::bind((server, 53))).unwrap();
    /// hosts.client().run(|| UdpSocket::bind("[::]:0")?.send_to(b"hello", (server, 53))).unwrap();
    /// assert_eq!(receiver.recv(&mut [0; 64]).unwrap(), 5);
    /// # Ok::<(), pktmeta_testkit::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        let (client, server) = (Netns::new()?, Netns::new()?);
        let wire = VethPair::new(&client, Self::CLIENT_LINK, &server, Self::SERVER_LINK)?;
        let hosts = Self {
            client,
            server,
            wire,
        };
        for version in IpVersion::BOTH {
            let prefix_len = match version {
                IpVersion::V4 => 24,
                IpVersion::V6 => 64,
            };
            hosts
                .client_link()
                .add_address(hosts.client_ip(version), prefix_len)?;
            hosts
                .server_link()
                .add_address(hosts.server_ip(version), prefix_len)?;
        }
        hosts.client_link().set_up()?;
        hosts.server_link().set_up()?;
        // After the links are up, because taking up a link forgets its neighbours.
        for version in IpVersion::BOTH {
            hosts
                .client_link()
                .add_neighbour(hosts.server_ip(version), hosts.server_link().mac())?;
            hosts
                .server_link()
                .add_neighbour(hosts.client_ip(version), hosts.client_link().mac())?;
        }
        hosts.wire.wait_until_ready(READY_LIMIT)?;
        Ok(hosts)
    }

    /// The namespace of the client.
    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// The namespace of the server.
    pub fn server(&self) -> &Netns {
        &self.server
    }

    /// The client's end of the wire.
    pub fn client_link(&self) -> &Link {
        self.wire.a()
    }

    /// The server's end of the wire.
    pub fn server_link(&self) -> &Link {
        self.wire.b()
    }

    /// Interface index of the client's device, in the namespace of the client.
    pub fn client_ifindex(&self) -> u32 {
        self.client_link().ifindex()
    }

    /// Interface index of the server's device, in the namespace of the server.
    pub fn server_ifindex(&self) -> u32 {
        self.server_link().ifindex()
    }

    /// Address of the client.
    pub fn client_ip(&self, version: IpVersion) -> IpAddr {
        match version {
            IpVersion::V4 => Self::CLIENT_V4.into(),
            IpVersion::V6 => Self::CLIENT_V6.into(),
        }
    }

    /// Address of the server.
    pub fn server_ip(&self, version: IpVersion) -> IpAddr {
        match version {
            IpVersion::V4 => Self::SERVER_V4.into(),
            IpVersion::V6 => Self::SERVER_V6.into(),
        }
    }
}
