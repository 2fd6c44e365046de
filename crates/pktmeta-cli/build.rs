//! Tells the tests how an author of BPF programs compiles: with what, and where the headers are.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["CLANG", "INCLUDE", "UAPI", "LIBBPF"] {
        // The build of pktmeta-bpf says it.
        if let Ok(value) = env::var(format!("DEP_PKTMETA_{variable}")) {
            println!("cargo::rustc-env=PKTMETA_{variable}={value}");
        }
    }
}
