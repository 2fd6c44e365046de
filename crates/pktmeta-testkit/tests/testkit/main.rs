//! What needs root: the kernel side of every module. See `sandbox` for how these tests isolate
//! themselves.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bpf;
mod hosts;
mod netns;
mod prog_run;
mod sandbox;
mod victims;
