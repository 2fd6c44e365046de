//! Compiles the BPF programs that `record` compares, each to `OUT_DIR/<name>.bpf.o`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCES: &str = "src/record/bpf";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    // The programs use pktmeta's headers, which belong to another crate.
    let include = variable("DEP_PKTMETA_INCLUDE");
    println!("cargo::rerun-if-changed={}", Path::new(&include).display());
    let out = PathBuf::from(variable("OUT_DIR"));
    for name in ["empty", "raw", "traits", "hash", "pktmeta"] {
        let source = format!("{SOURCES}/{name}.bpf.c");
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
        let object = out.join(format!("{name}.bpf.o"));
        let status = clang.args(["-c", &source, "-o"]).arg(object).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("cargo::error=clang did not compile {source}");
            std::process::exit(1);
        }
    }
}
