//! Compiles the BPF programs with clang. Nothing of the building machine's headers is used.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// Each becomes `OUT_DIR/<name>.bpf.o`.
const PROGRAMS: [(&str, &str); 8] = [
    ("xdp", "src/hooks/xdp/label.bpf.c"),
    ("tc", "src/hooks/tc/ingress.bpf.c"),
    ("cgroup_skb", "src/hooks/cgroup_skb/deliver.bpf.c"),
    ("sockops", "src/hooks/sockops/establish.bpf.c"),
    ("getsockopt", "src/hooks/getsockopt/answer.bpf.c"),
    ("setsockopt", "src/hooks/setsockopt/settle.bpf.c"),
    ("sockets", "src/sockets/sockets.bpf.c"),
    ("watch", "src/watch/watch.bpf.c"),
];

/// The oldest clang whose output the verifier is known to take.
const CLANG_MIN: u32 = 14;
const CLANG_MAX: u32 = 30;

fn main() {
    for watched in [
        "src/carriers",
        "src/endpoints.bpf.h",
        "src/hooks",
        "src/sockets",
        "src/watch",
    ] {
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
    for (name, source) in PROGRAMS {
        let object = Path::new(&variable("OUT_DIR")).join(format!("{name}.bpf.o"));
        compile(&clang, &here, &libbpf, Path::new(source), &object);
    }
}

fn compile(clang: &OsString, here: &Path, libbpf: &OsString, source: &Path, object: &Path) {
    let status = Command::new(clang)
        .current_dir(here)
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-nostdinc"])
        .args(["-Wall", "-Wextra", "-Werror"])
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
