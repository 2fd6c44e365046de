//! The generated C headers, compiled and run.

use crate::{sample, tool};
use pktmeta_codegen::{Language, generate};
use pktmeta_core::{
    Kind, Record, Registry, Value,
    schema::{Schema, SchemaField},
};
use std::{fmt::Write, fs, path::Path, process::Command};

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
fn c_reads_of_records_what_rust_reads() {
    let directory = headers("c-run");
    let program = directory.join("print");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover"])
        .arg("-I")
        .arg(&directory)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/print.c"))
        .arg("-o")
        .arg(&program);
    tool::run(&mut gcc, "");
    let registry = sample::registry();
    let fields = sample::fields();
    let numbers = fields.iter().map(|field| {
        let info = registry.by_name(field.wanted.name.as_str());
        info.unwrap().tlv.to_string()
    });
    let mut carriers = broken_records();
    let whole = carriers
        .iter()
        .filter(|carrier| Record::parse(carrier).is_ok());
    assert!(
        (500..3500).contains(&whole.count()),
        "some are records, some are not"
    );
    carriers.extend(["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec()));
    let mut input = String::new();
    let mut expected = String::new();
    for carrier in &carriers {
        input += &format!("{}\n", hex(carrier));
        let record = Record::parse(carrier).ok();
        for field in &fields {
            writeln!(expected, "{}", shown(field, record.as_ref(), &registry)).unwrap();
        }
    }
    let printed = tool::run(Command::new(program).args(numbers), &input);
    let mut lines = printed.lines().zip(expected.lines()).enumerate();
    if let Some((line, (c, rust))) = lines.find(|(_, (c, rust))| c != rust) {
        panic!(
            "{:02x?}: C says {c}, Rust {rust}",
            carriers[line / fields.len()]
        );
    }
    assert_eq!(printed.lines().count(), expected.lines().count());
    // The whole records are last: all of their fields have values.
    let last: Vec<_> = printed.lines().rev().take(2 * fields.len()).collect();
    let absent = last.iter().filter(|line| line.ends_with("absent")).count();
    assert_eq!(absent, fields.len(), "{last:#?}");
}

/// Records with bytes changed, cut and added: some are still records, some are not.
fn broken_records() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let whole = ["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec());
    let mut broken = vec![Vec::new()];
    for record in &whole {
        broken.extend((0..record.len()).map(|length| record[..length].to_vec()));
        for _ in 0..2000 {
            let mut record = record.clone();
            for _ in 0..=random(3) {
                let at = random(record.len());
                record[at] = random(256) as u8;
            }
            match random(4) {
                0 => record.truncate(random(record.len())),
                1 => record.extend([0, 0, 7]),
                // Shorter by its own account.
                2 => record[3] = random(usize::from(record[3]).max(1)) as u8,
                _ => {}
            }
            broken.push(record);
        }
    }
    broken
}

/// A field of a record as the C program prints it.
fn shown(field: &SchemaField, record: Option<&Record>, registry: &Registry) -> String {
    let wanted = &field.wanted;
    let name = format!("{}_{}", wanted.owner, wanted.name);
    let Some(record) = record else {
        return format!("{name} none");
    };
    let tag = registry.by_name(wanted.name.as_str()).unwrap().tag();
    let bytes = record.get(tag).unwrap_or(&[0xff; 100]);
    let Some(value) = Value::decode(wanted.kind, bytes) else {
        return format!("{name} absent");
    };
    let value = match (value, wanted.kind) {
        (Value::Flag, _) => "set".into(),
        (Value::Bool(value), _) => u8::from(value).to_string(),
        (Value::Unsigned(value), Kind::Unsigned { size: 16 }) => format!("{value:032x}"),
        (Value::Signed(value), Kind::Signed { size: 16 }) => format!("{value:032x}"),
        (value @ (Value::Unsigned(_) | Value::Signed(_) | Value::Timestamp(_)), _) => {
            value.to_string()
        }
        (Value::Socket(address), _) => {
            format!("{} {}", hex(&bytes[..16]), address.port())
        }
        (Value::Ipv4(_) | Value::Ipv6(_) | Value::Mac(_) | Value::Bytes(_), _) => hex(bytes),
    };
    format!("{name} {value}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory with the generated headers, and one in which BPF programs find theirs.
fn headers(test: &str) -> std::path::PathBuf {
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
