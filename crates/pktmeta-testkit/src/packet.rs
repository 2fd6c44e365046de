//! Ethernet frames, with lengths and checksums that are right.
//!
//! ```
//! use pktmeta_testkit::packet::{self, Frame};
//!
//! let (client, server) = ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:53".parse().unwrap());
//! let plain = packet::udp(client, server, b"hello");
//! let tagged = Frame::new(client, server).vlan(7).udp(b"hello");
//! assert_eq!(plain.len() + 4, tagged.len());
//! ```

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder,
    PacketBuilderStep, VlanId,
};

use crate::link::Mac;

/// Source of a frame unless it is told otherwise: locally administered, so nobody owns it.
pub const DEFAULT_SOURCE_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// Destination of a frame unless it is told otherwise. A device in a namespace drops frames to
/// somebody else's address before its sockets see them: use [`Frame::macs`] for live traffic.
pub const DEFAULT_DESTINATION_MAC: Mac = [0x02, 0, 0, 0, 0, 0x02];

/// A UDP datagram. IPv4 or IPv6, as the addresses are.
///
/// # Panics
/// As [`Frame::udp`] does.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    Frame::new(source, destination).udp(payload)
}

/// The first segment of a TCP connection, which asks for it.
///
/// # Panics
/// As [`Frame::tcp`] does.
pub fn tcp_syn(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    Frame::new(source, destination).tcp(TcpFlags::SYN, &[])
}

/// The answer of the server to a [`tcp_syn`].
///
/// # Panics
/// As [`Frame::tcp`] does.
pub fn tcp_syn_ack(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    Frame::new(source, destination).tcp(TcpFlags::SYN_ACK, &[])
}

/// A segment in the middle of a TCP connection.
///
/// # Panics
/// As [`Frame::tcp`] does.
pub fn tcp_ack(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    Frame::new(source, destination).tcp(TcpFlags::ACK, payload)
}

/// The TCP flags that a test of connections needs.
///
/// Exhaustive, so that a test writes the flags it means and takes the rest from
/// [`TcpFlags::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags {
    /// Opens a connection.
    pub syn: bool,
    /// Acknowledges what came.
    pub ack: bool,
    /// Closes one direction.
    pub fin: bool,
    /// Refuses or ends the connection.
    pub rst: bool,
}

impl TcpFlags {
    /// Only SYN.
    pub const SYN: Self = Self {
        syn: true,
        ack: false,
        fin: false,
        rst: false,
    };
    /// SYN and ACK.
    pub const SYN_ACK: Self = Self {
        syn: true,
        ack: true,
        fin: false,
        rst: false,
    };
    /// Only ACK.
    pub const ACK: Self = Self {
        syn: false,
        ack: true,
        fin: false,
        rst: false,
    };
}

/// Builds a frame step by step.
#[derive(Debug, Clone)]
pub struct Frame {
    source: SocketAddr,
    destination: SocketAddr,
    source_mac: Mac,
    destination_mac: Mac,
    vlan: Option<u16>,
    hop_limit: u8,
    sequence: u32,
    acknowledged: u32,
}

impl Frame {
    /// From one socket address to another, of the same address family.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source,
            destination,
            source_mac: DEFAULT_SOURCE_MAC,
            destination_mac: DEFAULT_DESTINATION_MAC,
            vlan: None,
            hop_limit: 64,
            sequence: 0,
            acknowledged: 0,
        }
    }

    /// Sets the Ethernet addresses.
    #[must_use]
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// Adds an 802.1Q tag; `id` is 0 to 4095.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Sets the time to live or hop limit, 64 by default.
    #[must_use]
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Sets the TCP sequence and acknowledgement numbers, 0 by default.
    #[must_use]
    pub fn tcp_numbers(mut self, sequence: u32, acknowledged: u32) -> Self {
        (self.sequence, self.acknowledged) = (sequence, acknowledged);
        self
    }

    /// The frame with a UDP datagram in it.
    ///
    /// # Panics
    /// If the addresses are not of one family, the VLAN id is larger than 4095, or the payload does
    /// not fit an IP packet (65507 bytes in IPv4).
    #[track_caller]
    pub fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let step = self.ip().udp(self.source.port(), self.destination.port());
        let mut frame = Vec::with_capacity(step.size(payload.len()));
        if let Err(error) = step.write(&mut frame, payload) {
            panic!(
                "a UDP payload of {} bytes does not fit: {error}",
                payload.len()
            );
        }
        frame
    }

    /// The frame with a TCP segment in it.
    ///
    /// # Panics
    /// If the addresses are not of one family, the VLAN id is larger than 4095, or the payload does
    /// not fit an IP packet (65495 bytes in IPv4).
    #[track_caller]
    pub fn tcp(&self, flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
        const WINDOW: u16 = u16::MAX;
        let (source, destination) = (self.source.port(), self.destination.port());
        let mut step = self.ip().tcp(source, destination, self.sequence, WINDOW);
        if flags.syn {
            step = step.syn();
        }
        if flags.ack {
            step = step.ack(self.acknowledged);
        }
        if flags.fin {
            step = step.fin();
        }
        if flags.rst {
            step = step.rst();
        }
        let mut frame = Vec::with_capacity(step.size(payload.len()));
        if let Err(error) = step.write(&mut frame, payload) {
            panic!(
                "a TCP payload of {} bytes does not fit: {error}",
                payload.len()
            );
        }
        frame
    }

    /// Everything below the transport; lengths, the next protocol and checksums are filled in at
    /// the end.
    #[track_caller]
    fn ip(&self) -> PacketBuilderStep<IpHeaders> {
        let ip = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => IpHeaders::Ipv4(
                Ipv4Header {
                    time_to_live: self.hop_limit,
                    dont_fragment: true,
                    fragment_offset: IpFragOffset::ZERO,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Default::default()
                },
                Default::default(),
            ),
            (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeaders::Ipv6(
                Ipv6Header {
                    flow_label: Ipv6FlowLabel::ZERO,
                    next_header: IpNumber::UDP,
                    hop_limit: self.hop_limit,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Default::default()
                },
                Default::default(),
            ),
            (source, destination) => {
                panic!("{source} and {destination} are not of one address family")
            }
        };
        let ethernet = PacketBuilder::ethernet2(self.source_mac, self.destination_mac);
        match self.vlan.map(VlanId::try_new) {
            None => ethernet.ip(ip),
            Some(Ok(id)) => ethernet.single_vlan(id).ip(ip),
            Some(Err(error)) => panic!("no such VLAN: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn addresses() -> [(SocketAddr, SocketAddr); 2] {
        [
            ("192.0.2.1:1000", "192.0.2.2:53"),
            ("[2001:db8::1]:1000", "[2001:db8::2]:53"),
        ]
        .map(|(source, destination)| (source.parse().unwrap(), destination.parse().unwrap()))
    }

    #[test]
    fn udp_frames_parse_back_and_their_checksums_hold() {
        for (source, destination) in addresses() {
            let frame = udp(source, destination, b"payload");
            let headers = etherparse::PacketHeaders::from_ethernet_slice(&frame).unwrap();
            let transport = headers.transport.unwrap().udp().unwrap();
            let sum = match headers.net.unwrap() {
                etherparse::NetHeaders::Ipv4(ip, _) => {
                    assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
                    transport.calc_checksum_ipv4(&ip, b"payload").unwrap()
                }
                etherparse::NetHeaders::Ipv6(ip, _) => {
                    transport.calc_checksum_ipv6(&ip, b"payload").unwrap()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(transport.checksum, sum);
            assert_eq!(
                (transport.source_port, transport.destination_port),
                (1000, 53)
            );
            assert!(frame.ends_with(b"payload"));
        }
    }

    #[test]
    fn tcp_flags_vlan_and_ethernet_addresses_are_where_they_belong() {
        for (source, destination) in addresses() {
            let frame = Frame::new(source, destination)
                .macs([2; 6], [4; 6])
                .vlan(7)
                .tcp(TcpFlags::SYN_ACK, &[]);
            assert_eq!(frame[..12], [4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2]);
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            assert_eq!(packet.vlan_ids().as_slice(), [VlanId::try_new(7).unwrap()]);
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
                panic!("not TCP")
            };
            assert!(tcp.syn() && tcp.ack() && !tcp.fin() && !tcp.rst());
        }
    }

    #[test]
    #[should_panic(expected = "not of one address family")]
    fn mixed_address_families_are_refused() {
        udp(
            "192.0.2.1:1".parse().unwrap(),
            "[::1]:1".parse().unwrap(),
            &[],
        );
    }
}
