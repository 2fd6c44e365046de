//! Compiles the BPF examples, as the build of any crate with BPF programs of its own would.

use std::{env, ffi::OsString, path::Path, process::Command};

/// Each becomes `OUT_DIR/NAME.bpf.o`.
const PROGRAMS: [(&str, &str); 4] = [
    ("bill", "bpf/bill.bpf.c"),
    ("steer", "bpf/steer.bpf.c"),
    ("edge", "bpf/two_owners/edge.bpf.c"),
    ("dns", "bpf/two_owners/dns.bpf.c"),
];

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    for (name, source) in PROGRAMS {
        let object = Path::new(&variable("OUT_DIR")).join(format!("{name}.bpf.o"));
        compile(source, &object);
    }
}

fn compile(source: &str, object: &Path) {
    let mut clang = Command::new(variable("DEP_PKTMETA_CLANG"));
    clang.args([
        "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror",
    ]);
    for headers in [
        "DEP_PKTMETA_INCLUDE",
        "DEP_PKTMETA_UAPI",
        "DEP_PKTMETA_LIBBPF",
    ] {
        clang.arg("-isystem").arg(variable(headers));
    }
    let status = clang.args(["-c", source, "-o"]).arg(object).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("cargo::error=clang did not compile {source}");
        std::process::exit(1);
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}
