//! Compiles the BPF programs to `OUT_DIR/paths.bpf.o`, so that who runs them needs no compiler.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    // The programs use pktmeta's headers, which belong to another crate.
    let include = PathBuf::from(variable("DEP_PKTMETA_INCLUDE"));
    println!("cargo::rerun-if-changed={}", include.display());
    let mut clang = Command::new(variable("DEP_PKTMETA_CLANG"));
    clang
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-nostdinc"])
        .args(["-Wall", "-Wextra", "-Werror"]);
    for headers in [
        "DEP_PKTMETA_INCLUDE",
        "DEP_PKTMETA_UAPI",
        "DEP_PKTMETA_LIBBPF",
    ] {
        clang.arg("-isystem").arg(variable(headers));
    }
    let object = PathBuf::from(variable("OUT_DIR")).join("paths.bpf.o");
    clang.args(["-c", "bpf/paths.bpf.c", "-o"]).arg(object);
    if !clang.status().is_ok_and(|status| status.success()) {
        println!("cargo::error=clang did not compile bpf/paths.bpf.c");
        std::process::exit(1);
    }
}
