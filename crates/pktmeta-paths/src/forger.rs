//! Frames of a remote sender who knows the host's schema, its numbers and its places, but not its
//! secret, and puts a record where the kernel looks once the tunnel's headers are taken away: in
//! front of the inner packet, in bytes of the outer headers that nobody checks.

use crate::world::MAC;
use pktmeta_testkit::packet;
use std::net::{IpAddr, SocketAddr};

const PROTO_IPV4: u8 = 4;
const PROTO_IPV6: u8 = 41;
const PROTO_UDP: u8 = 17;
const PROTO_GRE: u8 = 47;
const DESTINATION_OPTIONS: u8 = 60;
const ETHERNET: [u8; 2] = [0x65, 0x58];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Who sends what.
#[derive(Clone, Debug)]
pub(crate) struct Forger {
    pub(crate) outer: Outer,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) tunnel: Tunnel,
    pub(crate) inner_from: IpAddr,
    pub(crate) inner_to: IpAddr,
}

/// The outer IP header. Either has an option that nobody knows, whose bytes are the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outer {
    V4,
    V6,
}

/// What is between the IP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnel {
    /// Nothing.
    Ip,
    Gre {
        ethernet: bool,
    },
    Vxlan {
        port: u16,
        id: u32,
    },
    Geneve {
        port: u16,
        id: u32,
    },
    Fou {
        port: u16,
    },
}

/// Bytes, and which of them are the sender's to choose.
#[derive(Default)]
struct Headers {
    bytes: Vec<u8>,
    free: Vec<bool>,
}

impl Headers {
    fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.free.resize(self.bytes.len(), false);
    }

    fn free(&mut self, size: usize) {
        self.bytes.resize(self.bytes.len() + size, 0);
        self.free.resize(self.bytes.len(), true);
    }

    /// As much of an area as there is room for, its end at the end.
    fn forge(&mut self, area: &[u8]) {
        let bytes = self.bytes.iter_mut().zip(&self.free);
        for ((to, free), from) in bytes.rev().zip(area.iter().rev()) {
            if *free {
                *to = *from;
            }
        }
    }
}

impl Forger {
    /// A frame for a port of the inner destination, with this area in front of the inner packet.
    pub(crate) fn frame(&self, port: u16, payload: &[u8], area: &[u8]) -> Vec<u8> {
        let [from, to] = [self.inner_from, self.inner_to].map(|ip| SocketAddr::new(ip, port));
        let mut inner = packet::udp(from, to, payload);
        if !self.has_inner_ethernet() {
            inner.drain(..14);
        }
        let mut tunnel = Headers::default();
        self.put_tunnel(&mut tunnel, inner.len());
        let mut outer = Headers::default();
        self.put_ip(&mut outer, tunnel.bytes.len() + inner.len());
        let ip = outer.bytes.len();
        outer.bytes.extend(tunnel.bytes);
        outer.free.extend(tunnel.free);
        outer.forge(area);
        if self.outer == Outer::V4 {
            let sum = checksum(&outer.bytes[14..ip]);
            outer.bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        [outer.bytes, inner].concat()
    }

    fn has_inner_ethernet(&self) -> bool {
        match self.tunnel {
            Tunnel::Vxlan { .. } | Tunnel::Geneve { .. } => true,
            Tunnel::Gre { ethernet } => ethernet,
            Tunnel::Ip | Tunnel::Fou { .. } => false,
        }
    }

    fn put_ip(&self, headers: &mut Headers, payload: usize) {
        headers.fixed(&MAC);
        headers.fixed(&packet::DEFAULT_SOURCE_MAC);
        let protocol = match self.tunnel {
            Tunnel::Ip if self.inner_to.is_ipv4() => PROTO_IPV4,
            Tunnel::Ip => PROTO_IPV6,
            Tunnel::Gre { .. } => PROTO_GRE,
            Tunnel::Vxlan { .. } | Tunnel::Geneve { .. } | Tunnel::Fou { .. } => PROTO_UDP,
        };
        match self.outer {
            Outer::V4 => {
                const SIZE: usize = 60;
                headers.fixed(&IPV4);
                headers.fixed(&[0x4f, 0]);
                headers.fixed(&((SIZE + payload) as u16).to_be_bytes());
                headers.fixed(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
                headers.fixed(&octets(self.from));
                headers.fixed(&octets(self.to));
                // Experimental (RFC 4727): routers and hosts pass it on.
                headers.fixed(&[0x9e, 40]);
                headers.free(38);
            }
            Outer::V6 => {
                const SIZE: usize = 224;
                headers.fixed(&IPV6);
                headers.fixed(&[0x60, 0, 0, 0]);
                headers.fixed(&((SIZE + payload) as u16).to_be_bytes());
                headers.fixed(&[DESTINATION_OPTIONS, 64]);
                headers.fixed(&octets(self.from));
                headers.fixed(&octets(self.to));
                // Experimental, to be skipped by who does not know it.
                headers.fixed(&[protocol, (SIZE / 8 - 1) as u8, 0x1e, (SIZE - 4) as u8]);
                headers.free(SIZE - 4);
            }
        }
    }

    fn put_tunnel(&self, headers: &mut Headers, inner: usize) {
        let inner_type = match (self.has_inner_ethernet(), self.inner_to) {
            (true, _) => ETHERNET,
            (false, IpAddr::V4(_)) => IPV4,
            (false, IpAddr::V6(_)) => IPV6,
        };
        let virtual_network = |id: u32| id.to_be_bytes()[1..].to_vec();
        match self.tunnel {
            Tunnel::Ip => {}
            Tunnel::Gre { .. } => {
                headers.fixed(&[0x10, 0]);
                headers.fixed(&inner_type);
                headers.free(4); // a number that nobody looks at
            }
            Tunnel::Vxlan { port, id } => {
                put_udp(headers, port, 8 + inner);
                headers.fixed(&[8, 0, 0, 0]);
                headers.fixed(&virtual_network(id));
                headers.fixed(&[0]);
            }
            Tunnel::Geneve { port, id } => {
                const OPTIONS: [usize; 2] = [124, 120];
                let size: usize = OPTIONS.iter().map(|size| 4 + size).sum();
                put_udp(headers, port, 8 + size + inner);
                headers.fixed(&[(size / 4) as u8, 0]);
                headers.fixed(&ETHERNET);
                headers.fixed(&virtual_network(id));
                headers.fixed(&[0]);
                for size in OPTIONS {
                    headers.fixed(&[0xff, 0xff, 1, (size / 4) as u8]);
                    headers.free(size);
                }
            }
            Tunnel::Fou { port } => put_udp(headers, port, inner),
        }
    }
}

/// Without a checksum; the source port is the sender's choice.
fn put_udp(headers: &mut Headers, port: u16, payload: usize) {
    headers.free(2);
    headers.fixed(&port.to_be_bytes());
    headers.fixed(&((8 + payload) as u16).to_be_bytes());
    headers.fixed(&[0, 0]);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
