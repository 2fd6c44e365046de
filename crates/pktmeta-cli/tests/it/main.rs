//! The `pktmeta` command on real interfaces, each test in a sandbox of its own. Needs root.
#![allow(missing_docs, clippy::unwrap_used)]

mod bind;
mod bpf;
mod cgroups;
mod check;
mod coexistence;
mod command;
mod demo;
mod doctor;
mod document;
mod down;
mod encode;
mod errors;
mod exec;
mod guide;
mod hostile;
mod killed;
mod lab;
mod links;
mod output;
mod registry;
mod restart;
mod sockets;
mod status;
mod up;
mod watch;
