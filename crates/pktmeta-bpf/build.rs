//! Compiles the BPF programs of the hooks.

use pktmeta_build::{Compiler, build, fail, find_clang, variable};
use std::{env, ffi::OsString, fs, io, path::PathBuf};

/// A folder a hook; its program `NAME/NAME.bpf.c` becomes `OUT_DIR/NAME.bpf.o`.
const HOOKS: &str = "src/hooks";

fn main() {
    // Another folder may come.
    println!("cargo::rerun-if-changed={HOOKS}");
    println!(
        "cargo::rerun-if-env-changed={}",
        pktmeta_build::CLANG_VARIABLE
    );
    // libbpf-sys says where it put libbpf's headers.
    let libbpf = variable("DEP_BPF_INCLUDE");
    // docs.rs has none, and documentation needs no programs.
    let without_programs = env::var_os("DOCS_RS").is_some();
    let clang = match find_clang() {
        Ok(clang) => clang,
        Err(_) if without_programs => OsString::new(),
        Err(error) => fail(&error),
    };
    // For build scripts of crates that depend on this one: DEP_PKTMETA_INCLUDE and so on.
    println!("cargo::metadata=include={}", pktmeta_headers::INCLUDE);
    println!("cargo::metadata=uapi={}", pktmeta_headers::UAPI);
    println!("cargo::metadata=libbpf={}", libbpf.display());
    println!("cargo::metadata=clang={}", clang.display());
    // For the tests, which compile programs of their own.
    println!("cargo::rustc-env=PKTMETA_LIBBPF={}", libbpf.display());
    println!("cargo::rustc-env=PKTMETA_CLANG={}", clang.display());
    let compiler = Compiler::new(clang, libbpf)
        .arguments(["-I", "bpf"])
        .shown_as(PathBuf::from(variable("CARGO_MANIFEST_DIR")), ".");
    for program in programs().unwrap_or_else(|error| panic!("{HOOKS}: {error}")) {
        if without_programs {
            let object = program.with_extension("o");
            let name = object.file_name().unwrap_or_default();
            fs::write(PathBuf::from(variable("OUT_DIR")).join(name), [])
                .unwrap_or_else(|error| panic!("{}: {error}", object.display()));
        } else {
            build(&compiler, program);
        }
    }
}

fn programs() -> io::Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(HOOKS)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let program = entry.path().join(format!("{name}.bpf.c"));
        programs.extend(program.exists().then_some(program));
    }
    Ok(programs)
}
