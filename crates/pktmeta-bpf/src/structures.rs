//! Structures that C and Rust share: the C compiler compares both layouts.

use pktmeta_build::Compiler;
use std::{fmt::Write as _, fs};

/// Compiles a program that holds the size of a structure of a header, and the offsets of its
/// members, to these numbers.
#[track_caller]
pub(crate) fn check(header: &str, name: &str, size: usize, members: &[(&str, usize)]) {
    let mut program = format!(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include <{header}>\n\
         _Static_assert(sizeof(struct {name}) == {size}, \"the size\");\n"
    );
    for (member, offset) in members {
        let _ = writeln!(
            program,
            "_Static_assert(__builtin_offsetof(struct {name}, {member}) == {offset}, \"{member}\");"
        );
    }
    let folder = std::env::temp_dir().join(format!("pktmeta-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let source = folder.join("check.bpf.c");
    fs::write(&source, program).unwrap();
    let here = env!("CARGO_MANIFEST_DIR");
    let compiler = Compiler::new(env!("PKTMETA_CLANG"), env!("PKTMETA_LIBBPF"))
        .arguments([format!("-I{here}/bpf"), format!("-I{here}/src")])
        // Headers have functions that this program does not call.
        .arguments(["-Wno-unused-function"]);
    let compiled = compiler.compile(&source, &folder.join("check.bpf.o"));
    fs::remove_dir_all(folder).unwrap();
    compiled.unwrap_or_else(|error| panic!("{error}"));
}
