//! Compiles the BPF example, as the build of any crate with BPF programs of its own would.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let object = Path::new(&variable("OUT_DIR")).join("steer.bpf.o");
    let mut clang = Command::new(variable("DEP_PKTMETA_CLANG"));
    clang.args([
        "-g",
        "-O2",
        "-target",
        "bpf",
        "-mcpu=v3",
        "-nostdinc",
        "-Wall",
        "-Werror",
    ]);
    for headers in [
        "DEP_PKTMETA_INCLUDE",
        "DEP_PKTMETA_UAPI",
        "DEP_PKTMETA_LIBBPF",
    ] {
        clang.arg("-isystem").arg(variable(headers));
    }
    let status = clang
        .args(["-c", "bpf/steer.bpf.c", "-o"])
        .arg(object)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("cargo::error=clang did not compile bpf/steer.bpf.c");
        std::process::exit(1);
    }
}
