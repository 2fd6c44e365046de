//! Both ends of a socket or packet, as `endpoints.bpf.h` has them.

use std::net::{Ipv6Addr, SocketAddr};

/// Bytes of a `struct endpoints`.
pub(crate) const SIZE: usize = 36;

/// The local and the remote end; IPv4 ones whatever the socket's family.
pub(crate) fn parse(bytes: &[u8; SIZE]) -> (SocketAddr, SocketAddr) {
    let (addresses, ports) = bytes.as_chunks::<16>();
    let (ports, _) = ports.as_chunks::<2>();
    let end = |at: usize| {
        let address = Ipv6Addr::from(addresses[at]).to_canonical();
        SocketAddr::new(address, u16::from_be_bytes(ports[at]))
    };
    (end(0), end(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_read_and_a_mapped_address_is_an_ipv4_one() {
        let mut bytes = [0; SIZE];
        bytes[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        bytes[16..18].copy_from_slice(&[0x20, 0x01]);
        bytes[32..].copy_from_slice(&[0, 53, 0x12, 0x34]);
        let (local, remote) = parse(&bytes);
        assert_eq!(local, "192.0.2.1:53".parse().unwrap());
        assert_eq!(remote, "[2001::]:4660".parse().unwrap());
    }
}
