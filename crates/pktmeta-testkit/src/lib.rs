//! A harness to test BPF data paths on a running Linux kernel.
//!
//! Everything here works with plain file descriptors and real kernel objects, so it does not matter
//! which loader a BPF program came from. From the smallest ring of testing to the largest:
//!
//! | you want to | use | needs |
//! |---|---|---|
//! | build the bytes of a packet | [`packet`] | nothing |
//! | run one program on a packet, with metadata | [`prog_run::XdpRun`] | Linux 5.15, root |
//! | run one TC or cgroup program on a packet | [`prog_run::SkbRun`] | Linux 5.15, root |
//! | send labelled packets into sockets | [`prog_run::LiveFrames`] | Linux 5.18, root |
//! | have two hosts that talk to each other | [`link::TwoHosts`] | Linux 4.9, root |
//! | make real UDP and TCP load, with a known end | [`traffic`] | nothing |
//! | attach, pin, and leave nothing behind | [`sandbox`] | Linux 5.3, cgroup v2, root |
//!
//! A test that attaches BPF programs usually is one closure in a sandbox of its own:
//!
//! ```no_run
//! use pktmeta_testkit::link::TwoHosts;
//! use pktmeta_testkit::sandbox::in_sandbox;
//!
//! #[test]
//! fn a_label_reaches_the_server() {
//!     in_sandbox(|sandbox| {
//!         let hosts = TwoHosts::new().unwrap();
//!         // attach to hosts.server_ifindex() and sandbox.cgroup(), pin in sandbox.bpffs() ...
//!     });
//! }
//! # fn main() {}
//! ```
//!
//! # Privileges
//! Entries marked *root* above need the capabilities that [`root::require`] lists. Tests should
//! fail, not skip, where they are missing: a skipped test proves nothing.

#![cfg(target_os = "linux")]

mod error;
pub mod link;
pub mod netns;
pub mod packet;
pub mod prog_run;
pub mod root;
pub mod sandbox;
mod sys;
pub mod traffic;

pub use error::Error;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
