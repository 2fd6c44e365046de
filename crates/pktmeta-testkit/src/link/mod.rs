//! Virtual Ethernet links between network namespaces.
//!
//! [`TwoHosts`] is the topology that most tests want; [`VethPair`] and [`Link`] are what it is
//! built of. Devices disappear with their namespaces, so nothing here needs to be undone.
//!
//! Needs `CAP_NET_ADMIN` in both namespaces. All calls block.

mod device;
mod mac;
mod route;
mod two_hosts;

pub use device::{Link, VethPair};
pub use mac::Mac;
pub use two_hosts::{IpVersion, TwoHosts};
