//! BPF programs of these tests.

use pktmeta_build::Compiler;
use std::{fs, path::Path, process};

/// Compiles `tests/sockets/SOURCE` to an ELF object.
pub(crate) fn compile(source: &str) -> Vec<u8> {
    compile_with(source, &[])
}

/// The same with further arguments of the compiler.
pub(crate) fn compile_with(source: &str, arguments: &[&str]) -> Vec<u8> {
    let name = [&[source], arguments].concat().join("-").replace('/', "-");
    let object = format!("{name}.{}.o", process::id());
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(object);
    let compiler = Compiler::new(env!("PKTMETA_CLANG"), env!("PKTMETA_LIBBPF"));
    let compiler = compiler.arguments(arguments);
    let compiled = compiler.compile(&Path::new("tests/sockets").join(source), &object);
    compiled.unwrap_or_else(|error| panic!("{error:?}"));
    let elf = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    elf
}
