//! BPF programs of these tests.

use std::{
    fs,
    path::Path,
    process::{self, Command},
};

/// Compiles `tests/sockets/SOURCE` to an ELF object.
pub(crate) fn compile(source: &str) -> Vec<u8> {
    let name = source.replace('/', "-");
    let object = format!("{name}.{}.o", process::id());
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(object);
    let output = Command::new(env!("PKTMETA_CLANG"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-nostdinc"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(["-I", pktmeta_headers::INCLUDE, "-I", pktmeta_headers::UAPI])
        .arg("-isystem")
        .arg(env!("PKTMETA_LIBBPF"))
        .arg("-c")
        .arg(Path::new("tests/sockets").join(source))
        .arg("-o")
        .arg(&object)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let elf = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    elf
}
