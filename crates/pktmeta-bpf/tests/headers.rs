//! Headers need no other header before them.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_build::{Compiler, find_clang};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_header_compiles_alone() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers");
    fs::create_dir_all(&folder).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = Path::new(pktmeta_headers::INCLUDE).join("pktmeta");
    let compiler = Compiler::new(find_clang().unwrap(), env!("PKTMETA_LIBBPF"));
    let compiler = compiler.arguments(["-I", "bpf"]);
    let (source, object) = (folder.join("it.bpf.c"), folder.join("it.o"));
    let mut failed = Vec::new();
    let headers = [library, here.join("bpf"), here.join("src/hooks")].map(|at| headers(&at));
    for header in headers.concat() {
        fs::write(&source, format!("#include \"{}\"\n", header.display())).unwrap();
        if let Err(error) = compiler.compile(&source, &object) {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// All below a folder.
fn headers(folder: &Path) -> Vec<PathBuf> {
    let mut headers = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            headers.extend(self::headers(&path));
        } else if path.extension().is_some_and(|end| end == "h") {
            headers.push(path);
        }
    }
    headers
}
