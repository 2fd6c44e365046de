//! What the verifier may have to do for each program, whatever compiler made it.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_bpf::{
    Object, ObjectOptions, ProgramStats,
    hook::{Hook, Program},
    hooks,
};
use pktmeta_build::{Compiler, clangs};
use pktmeta_core::{Registry, builtin, schema::Schema, seal::Secret};
use pktmeta_testkit::sandbox::in_sandbox_for;
use std::{
    ffi::OsStr,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// Half of the branches that the verifier can leave for later (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
/// When a function has left so many before its first line, it has to do with the other half.
const JUMPS: u32 = 8192 / 2;

#[test]
fn every_program_stays_within_its_instruction_budget_whatever_compiler_made_it() {
    in_sandbox_for(Duration::from_secs(600), |_| {
        let registry = registry();
        let mut wrong = Vec::new();
        for hook in hooks::ALL {
            let source = source_of(hook);
            let objects = clangs().into_iter().map(|clang| {
                let elf = compile(&clang, &source, &source);
                load(&elf, &registry)
            });
            let objects: Vec<_> = objects.collect();
            for Program { name, budget, .. } in hook.programs {
                let verified = objects.iter().map(|object| {
                    let program = object.program(name).unwrap();
                    let stats = ProgramStats::of(program.as_fd()).unwrap();
                    stats.verified_instructions
                });
                let verified: Vec<_> = verified.collect();
                println!("{verified:>7?} of {budget}: {name}");
                let most = *verified.iter().max().unwrap();
                if most > *budget || most * 3 < *budget {
                    wrong.push((name, most));
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "over their budgets, or far below: {wrong:?}"
        );
    });
}

#[test]
fn every_function_needs_less_than_half_of_the_jumps_that_there_are_whatever_compiler_made_it() {
    in_sandbox_for(Duration::from_secs(600), |_| {
        let registry = registry();
        for hook in hooks::ALL {
            let source = source_of(hook);
            let text = fs::read_to_string(&source).unwrap();
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jumps");
            fs::create_dir_all(&folder).unwrap();
            let longer = folder.join(source.file_name().unwrap());
            fs::write(&longer, with_jumps(&text)).unwrap();
            for clang in clangs() {
                println!("{} {}", clang.display(), source.display());
                load(&compile(&clang, &longer, &source), &registry);
            }
        }
    });
}

/// The same program, of which each function that the verifier looks at by itself begins with
/// [`JUMPS`] branches.
fn with_jumps(text: &str) -> String {
    let jumps = format!(
        "\tasm volatile(\".rept {JUMPS}\\ncall 7\\nif r0 == 1 goto +0\\n.endr\"\n\
         \t\t     ::: \"r0\", \"r1\", \"r2\", \"r3\", \"r4\", \"r5\");\n"
    );
    let mut longer = String::new();
    let mut signature = String::new();
    for line in text.lines() {
        longer += line;
        longer.push('\n');
        if line == "{" && !signature.contains("static") {
            longer += &jumps;
        }
        match line {
            "" => signature.clear(),
            _ => signature += line,
        }
    }
    assert!(longer.len() > text.len(), "no function in it");
    longer
}

/// The program of a hook's folder.
fn source_of(hook: &Hook) -> PathBuf {
    let function = format!("int {}(", hook.programs[0].name);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/hooks");
    for folder in fs::read_dir(hooks).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let source = folder.join(format!("{name}.bpf.c"));
        if fs::read_to_string(&source).is_ok_and(|text| text.contains(&function)) {
            return source;
        }
    }
    panic!("no folder has {function}");
}

/// Compiles `source` as this crate's build does, with the headers beside `original`.
fn compile(clang: &OsStr, source: &Path, original: &Path) -> Vec<u8> {
    let object = format!("budgets.{}.o", std::process::id());
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(object);
    let beside = original.parent().unwrap();
    let compiler = Compiler::new(clang, env!("PKTMETA_LIBBPF")).arguments(["-I", "bpf"]);
    let compiler = compiler.arguments([OsStr::new("-iquote"), beside.as_os_str()]);
    let compiled = compiler.compile(source, &object);
    compiled.unwrap_or_else(|error| panic!("{error}"));
    let elf = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    elf
}

/// With labels on, so that the verifier looks at all of it.
fn load(elf: &[u8], registry: &Registry) -> Object {
    let options = ObjectOptions {
        registry: Some(registry),
        globals: vec![
            ("labels_used", vec![1]),
            ("ring_slots", 1024u32.to_ne_bytes().into()),
            ("ring_bits", 10u32.to_ne_bytes().into()),
            ("ring_cpu_bits", 9u32.to_ne_bytes().into()),
        ],
        ..Default::default()
    };
    Object::load("it", elf, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// The built-in fields.
fn registry() -> Registry {
    let schema = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
    let registry = Schema::registry([&schema]).unwrap();
    registry.with_secret(Secret::new(0x1234_5678_9abc).unwrap())
}
