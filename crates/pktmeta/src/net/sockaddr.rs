//! `struct sockaddr_in` and `sockaddr_in6`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the longest address.
pub(crate) const LONGEST: usize = size_of::<libc::sockaddr_in6>();

/// Reads a `sockaddr_in` or `sockaddr_in6`.
pub(crate) fn parse(name: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = name.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let address = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddrV4::new(address, port).into())
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk()?);
            let flow = u32::from_ne_bytes(*flow);
            Some(SocketAddrV6::new(Ipv6Addr::from(*address), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Stores a `sockaddr_in` or `sockaddr_in6`, and returns its length.
pub(crate) fn store(address: SocketAddr, name: &mut [u8; LONGEST]) -> usize {
    let port = address.port().to_be_bytes();
    let (family, first, second, scope) = match address {
        SocketAddr::V4(v4) => (libc::AF_INET, &v4.ip().octets()[..], &[][..], [0; 4]),
        SocketAddr::V6(v6) => (
            libc::AF_INET6,
            &v6.flowinfo().to_ne_bytes()[..],
            &v6.ip().octets()[..],
            v6.scope_id().to_ne_bytes(),
        ),
    };
    let family = (family as libc::sa_family_t).to_ne_bytes();
    let parts = [&family[..], &port, first, second, &scope];
    for (byte, stored) in parts.into_iter().flatten().zip(name) {
        *stored = *byte;
    }
    match address {
        SocketAddr::V4(_) => size_of::<libc::sockaddr_in>(),
        SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>(),
    }
}
