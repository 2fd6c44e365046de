//! Buffers for the sender and the control messages of a datagram.

use crate::net::sockaddr;
use std::{mem, net::SocketAddr};

const CONTROL: usize = 448;

/// Room for the sender and the control messages of one datagram.
#[derive(Clone)]
#[repr(C, align(8))]
pub(crate) struct Envelope {
    /// `sock_recv_cmsgs` stores timestamps (128 bytes), Wi-Fi status and drops (48) before mark and
    /// priority (48), so that a ticket always has room. Behind them come GRO's size (24), and the
    /// addresses, ECN and time to live of IP (184 if a socket asks for those of both versions).
    control: [u8; CONTROL],
    name: [u8; size_of::<libc::sockaddr_storage>()],
}

impl Envelope {
    pub(crate) const fn new() -> Self {
        Self {
            control: [0; CONTROL],
            name: [0; size_of::<libc::sockaddr_storage>()],
        }
    }

    /// A message header that makes the kernel fill `self` and the buffer of `payload`.
    pub(crate) fn header(&mut self, payload: &mut libc::iovec) -> libc::msghdr {
        // SAFETY: A `msghdr` of zeros is one without buffers.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = self.name.as_mut_ptr().cast();
        header.msg_namelen = self.name.len() as _;
        header.msg_iov = payload;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = self.control.len() as _;
        header
    }

    /// The sender, once a message was received with `header`; `None` if it has no IP address.
    pub(crate) fn sender(&self, header: &libc::msghdr) -> Option<SocketAddr> {
        let length = (header.msg_namelen as usize).min(self.name.len());
        sockaddr::parse(&self.name[..length])
    }

    /// The control messages, once a message was received with `header`.
    pub(crate) fn control(&self, header: &libc::msghdr) -> &[u8] {
        let length: usize = header.msg_controllen as _;
        &self.control[..length.min(self.control.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ip_senders_are_addresses() {
        let mut envelope = Envelope::new();
        let mut payload = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut header = envelope.header(&mut payload);
        for family in [libc::AF_UNSPEC, libc::AF_UNIX, libc::AF_NETLINK] {
            envelope.name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
            assert!(envelope.sender(&header).is_none());
        }
        envelope.name[..8].copy_from_slice(&[0, 0, 0x12, 0x34, 192, 0, 2, 1]);
        envelope.name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        let sender = envelope.sender(&header).unwrap();
        assert_eq!(sender, "192.0.2.1:4660".parse().unwrap());
        header.msg_namelen = 7;
        assert!(envelope.sender(&header).is_none());
    }
}
