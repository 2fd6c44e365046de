//! What needs root: the kernel side of every module. See `sandbox` for how these tests isolate
//! themselves.

#![allow(clippy::unwrap_used)] // In helpers too: a test is where an error should panic.

mod bpf;
mod hosts;
mod netns;
mod prog_run;
mod sandbox;
mod victims;
