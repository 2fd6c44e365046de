//! Compiles the BPF programs with clang. Nothing of the building machine's headers is used.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder a hook; its program `NAME/NAME.bpf.c` becomes `OUT_DIR/NAME.bpf.o`.
const HOOKS: &str = "src/hooks";

/// The oldest clang whose output the verifier is known to take.
const CLANG_MIN: u32 = 14;
const CLANG_MAX: u32 = 30;

fn main() {
    for watched in ["bpf", HOOKS] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-changed={}", pktmeta_headers::INCLUDE);
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    // libbpf-sys says where it put libbpf's headers.
    let libbpf = variable("DEP_BPF_INCLUDE");
    let clang = find_clang();
    // For build scripts of crates that depend on this one: DEP_PKTMETA_INCLUDE and so on.
    println!("cargo::metadata=include={}", pktmeta_headers::INCLUDE);
    println!("cargo::metadata=uapi={}", pktmeta_headers::UAPI);
    println!("cargo::metadata=libbpf={}", libbpf.display());
    println!("cargo::metadata=clang={}", clang.display());
    // For the tests, which compile programs of their own.
    println!("cargo::rustc-env=PKTMETA_LIBBPF={}", libbpf.display());
    println!("cargo::rustc-env=PKTMETA_CLANG={}", clang.display());
    let out = PathBuf::from(variable("OUT_DIR"));
    let hooks = programs().unwrap_or_else(|error| fail(&format!("{HOOKS}: {error}")));
    for (name, source) in hooks {
        compile(
            &clang,
            &here,
            &libbpf,
            &source,
            &out.join(format!("{name}.bpf.o")),
        );
    }
}

/// The names of the hooks' folders, and the program in each.
fn programs() -> io::Result<Vec<(String, PathBuf)>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(HOOKS)? {
        let folder = entry?.path();
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let program = folder.join(format!("{name}.bpf.c"));
        if program.exists() {
            programs.push((name, program));
        }
    }
    Ok(programs)
}

fn compile(clang: &OsString, here: &Path, libbpf: &OsString, source: &Path, object: &Path) {
    let status = Command::new(clang)
        .current_dir(here)
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-nostdinc"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(["-I", "bpf"])
        .args(["-I", pktmeta_headers::INCLUDE, "-I", pktmeta_headers::UAPI])
        .arg("-isystem")
        .arg(libbpf)
        .arg(format!("-ffile-prefix-map={}=.", here.display()))
        .arg(format!(
            "-ffile-prefix-map={}=include",
            pktmeta_headers::INCLUDE
        ))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(_) => fail(&format!(
            "{} did not compile {}",
            clang.display(),
            source.display()
        )),
        Err(error) => fail(&format!("{} did not start: {error}", clang.display())),
    }
}

/// `$BPF_CLANG`, else the newest `clang-NN` in the path, else `clang`.
fn find_clang() -> OsString {
    if let Some(clang) = env::var_os("BPF_CLANG") {
        return clang;
    }
    let numbered = (CLANG_MIN..=CLANG_MAX)
        .rev()
        .map(|version| format!("clang-{version}"));
    numbered
        .chain(["clang".to_owned()])
        .find(|clang| Command::new(clang).arg("--version").output().is_ok_and(|o| o.status.success()))
        .unwrap_or_else(|| {
            fail(&format!(
                "no clang in the path: the BPF programs need clang {CLANG_MIN} or newer; on Debian, \
                 `cargo xtask setup` or `apt-get install clang`; or name one in BPF_CLANG"
            ))
        })
        .into()
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}
