//! Compiles the BPF programs that `record` compares and `sockets` observes with, each to
//! `OUT_DIR/<name>.bpf.o`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Of the tests of sockets, which count what is left behind too.
const COUNT: &str = "../crates/pktmeta-bpf/tests/sockets/storage/count";

const SOURCES: [&str; 7] = [
    "src/record/bpf/empty",
    "src/record/bpf/raw",
    "src/record/bpf/traits",
    "src/record/bpf/hash",
    "src/record/bpf/pktmeta",
    "src/sockets/bpf/observe",
    COUNT,
];

fn main() {
    for folder in ["src/record/bpf", "src/sockets/bpf"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    println!("cargo::rerun-if-changed={COUNT}.bpf.c");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    // The programs use pktmeta's headers, which belong to another crate.
    let include = variable("DEP_PKTMETA_INCLUDE");
    println!("cargo::rerun-if-changed={}", Path::new(&include).display());
    let out = PathBuf::from(variable("OUT_DIR"));
    for source in SOURCES {
        let source = Path::new(source).with_extension("bpf.c");
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
        let object = source.with_extension("o");
        let object = out.join(object.file_name().expect("a source is a file"));
        let status = clang.arg("-c").arg(&source).arg("-o").arg(object).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("cargo::error=clang did not compile {}", source.display());
            std::process::exit(1);
        }
    }
}
