//! Both ends of a socket or packet: the structure of `endpoints.bpf.h`.

use std::net::{Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// `struct pktmeta_endpoints`: IPv4 addresses are mapped ones, whatever the socket's family.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Endpoints {
    local_address: [u8; 16],
    remote_address: [u8; 16],
    local_port: [u8; 2],
    remote_port: [u8; 2],
}

impl Endpoints {
    /// The local and the remote end.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let end = |address: [u8; 16], port| {
            let address = Ipv6Addr::from(address).to_canonical();
            SocketAddr::new(address, u16::from_be_bytes(port))
        };
        (
            end(self.local_address, self.local_port),
            end(self.remote_address, self.remote_port),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures;
    use std::mem::offset_of;

    #[test]
    fn both_ends_are_read_and_a_mapped_address_is_an_ipv4_one() {
        let mut ends = Endpoints::read_from_bytes(&[0; 36]).unwrap();
        ends.local_address[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        ends.remote_address[..2].copy_from_slice(&[0x20, 0x01]);
        (ends.local_port, ends.remote_port) = ([0, 53], [0x12, 0x34]);
        let (local, remote) = ends.addresses();
        assert_eq!(local, "192.0.2.1:53".parse().unwrap());
        assert_eq!(remote, "[2001::]:4660".parse().unwrap());
    }

    #[test]
    fn the_ends_are_where_the_programs_have_them() {
        structures::check(
            "endpoints.bpf.h",
            "pktmeta_endpoints",
            size_of::<Endpoints>(),
            &[
                ("local_address", offset_of!(Endpoints, local_address)),
                ("remote_address", offset_of!(Endpoints, remote_address)),
                ("local_port", offset_of!(Endpoints, local_port)),
                ("remote_port", offset_of!(Endpoints, remote_port)),
            ],
        );
    }
}
