//! What applications see of real traffic between two hosts, over IPv4 and IPv6.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bpf;
mod calls;
mod counters;
mod hooks;
mod kinds;
mod lab;
mod labels;
mod options;
mod records;
mod seal;
mod seen;
mod send;
mod storage;
mod stress;
mod tally;
mod tcp;
mod udp;
mod without;
