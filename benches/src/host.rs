//! What the numbers were measured on.

use serde_json::{Value, json};
use std::fs;

/// Kernel and CPU, as far as they say who they are.
pub(crate) struct Host {
    kernel: String,
    cpu: String,
    cpus: usize,
}

impl Host {
    /// Looks.
    pub(crate) fn new() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            // "CPU part" is what AArch64 has instead of a name.
            ["model name", "CPU part"]
                .contains(&key.trim())
                .then(|| value.trim().to_owned())
        });
        Self {
            kernel: kernel.trim().to_owned(),
            cpu: model.unwrap_or_else(|| "unknown CPU".into()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    pub(crate) fn print(&self) {
        let Self { kernel, cpu, cpus } = self;
        println!("Linux {kernel}, {cpu}, {cpus} CPUs");
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "kernel": self.kernel, "cpu": self.cpu, "cpus": self.cpus })
    }
}
