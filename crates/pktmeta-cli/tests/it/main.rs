//! The `pktmeta` command on real interfaces, each test in a sandbox of its own. Needs root.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

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
mod hooks;
mod hostile;
mod json;
mod killed;
mod lab;
mod label;
mod links;
mod loaders;
mod names;
mod output;
mod pages;
mod registry;
mod restart;
mod servers;
mod sockets;
mod status;
mod survey;
mod up;
mod watch;
