//! Addresses of devices.

/// An Ethernet address.
pub type Mac = [u8; 6];
