//! The generated C headers, compiled and run.

use crate::{sample, tool};
use pktmeta_codegen::{Input, Language, generate};
use pktmeta_core::schema::Schema;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-Wdocumentation"];

#[test]
fn headers_compile_for_the_host_without_warnings_alone_and_together() {
    let directory = headers("c-host");
    for name in sources(&directory, "") {
        let pedantic = ["-std=gnu11", "-Wpedantic"];
        tool::run(&mut compiler("gcc", &directory, &pedantic, name), "");
        for clang in tool::clangs() {
            for language in [&["-std=gnu11"][..], &["-x", "c++", "-std=c++17"]] {
                tool::run(&mut compiler(&clang, &directory, language, name), "");
            }
        }
    }
}

#[test]
fn headers_compile_for_bpf_without_warnings_alone_and_together() {
    let directory = headers("c-bpf");
    let multiarch = tool::run(Command::new("gcc").arg("-print-multiarch"), "");
    let system = format!("-I/usr/include/{}", multiarch.trim());
    for name in sources(&directory, "#include <pktmeta/pktmeta.bpf.h>\n") {
        for clang in tool::clangs() {
            for target in ["bpf", "bpfel"] {
                let options = ["-std=gnu11", "-O2", "-g", "-target", target, &system];
                tool::run(&mut compiler(&clang, &directory, &options, name), "");
            }
        }
    }
}

#[test]
fn types_alone_need_no_pktmeta_header_in_a_bpf_program() {
    let directory = headers("c-bpf-alone");
    let multiarch = tool::run(Command::new("gcc").arg("-print-multiarch"), "");
    let system = format!("-I/usr/include/{}", multiarch.trim());
    for name in sources(&directory, "") {
        for clang in tool::clangs() {
            let options = [
                "-nostdinc",
                "-target",
                "bpf",
                "-isystem/usr/include",
                &system,
            ];
            tool::run(&mut compiler(&clang, &directory, &options, name), "");
        }
    }
}

#[test]
fn c_refuses_what_does_not_fit_and_changes_nothing() {
    tool::run(&mut Command::new(sanitized("c-limits", "limits")), "");
}

#[test]
fn the_example_of_a_header_whose_first_field_is_a_flag_gives_no_value() {
    let text = "owner = \"edge\"\n[[field]]\nname = \"sampled\"\ntype = \"flag\"\n";
    let input = Input::new(vec![Schema::parse("edge.toml", text).unwrap()]).unwrap();
    let files = generate(Language::C, &input).unwrap();
    let header: String = files.into_iter().map(|file| file.text).collect();
    for call in [
        "edge_sampled_get(record, length, type)",
        "edge_sampled_put(record, type)",
    ] {
        assert!(header.contains(call), "{header}");
    }
}

/// Reads records with the generated functions.
pub(crate) fn reader() -> impl Fn() -> Command {
    let program = sanitized("c-run", "print");
    move || Command::new(&program)
}

/// Reads records with `record.h`.
pub(crate) fn reader_of_headers() -> impl Fn() -> Command {
    let program = sanitized("c-record", "record");
    move || Command::new(&program)
}

/// A program of `tests/c`, which ends at the first access to memory that is not its own, and at the
/// first thing that C leaves undefined.
fn sanitized(test: &str, name: &str) -> PathBuf {
    let directory = headers(test);
    let program = directory.join(name);
    let source = format!("tests/c/{name}.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover"])
        .arg("-I")
        .arg(&directory)
        .args(["-I", pktmeta_headers::INCLUDE])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .arg("-o")
        .arg(&program);
    tool::run(&mut gcc, "");
    program
}

/// A directory with the generated headers, and one in which BPF programs find theirs.
fn headers(test: &str) -> PathBuf {
    let directory = tool::directory(test);
    for file in generate(Language::C, &crate::input()).unwrap() {
        fs::write(directory.join(file.name), file.text).unwrap();
    }
    let stub = directory.join("pktmeta");
    fs::create_dir(&stub).unwrap();
    fs::write(
        stub.join("pktmeta.bpf.h"),
        include_str!("../c/bpf/pktmeta.bpf.h"),
    )
    .unwrap();
    directory
}

/// Sources that include one header or both, and declare every field if they are BPF programs.
fn sources(directory: &Path, first: &str) -> [&'static str; 3] {
    let schemas = sample::schemas();
    let (edge, lab) = schemas.split_at(1);
    [("edge.c", edge), ("lab.c", lab), ("both.c", &schemas)].map(|(name, schemas)| {
        fs::write(directory.join(name), source(schemas, first)).unwrap();
        name
    })
}

fn source(schemas: &[Schema], first: &str) -> String {
    let mut source = first.to_owned();
    for schema in schemas {
        source += &format!("#include \"{}.pktmeta.h\"\n", schema.owner());
    }
    for field in schemas.iter().flat_map(Schema::fields) {
        let wanted = &field.wanted;
        let owner = wanted.owner.as_str().to_uppercase();
        let upper = wanted.name.as_str().to_uppercase();
        source += &format!(
            "extern const char name_{0}[sizeof({owner}_{upper}_NAME)];\n",
            wanted.name
        );
        if !first.is_empty() {
            let name = wanted.name;
            source +=
                &format!("{owner}_FIELD_{upper};\npktmeta_value_of_{name} value_of_{name};\n");
        }
    }
    source
}

fn compiler(program: &str, directory: &Path, options: &[&str], source: &str) -> Command {
    let mut command = Command::new(program);
    // gcc has no -Wdocumentation.
    let warnings = &WARNINGS[..if program == "gcc" { 3 } else { 4 }];
    command
        .current_dir(directory)
        .args(warnings)
        .args(options)
        .args(["-I", ".", "-c", source, "-o", "/dev/null"]);
    command
}
