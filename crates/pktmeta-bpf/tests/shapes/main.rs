//! Programs as their authors write them load, whatever compiler, optimization and headers the
//! authors have. `PKTMETA_MATRIX=all` takes every compiler of the list; without it, the oldest and
//! the newest that are here.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod programs;

use pktmeta_bpf::{Object, ObjectOptions, ProgramStats};
use pktmeta_build::clangs;
use pktmeta_testkit::sandbox::in_sandbox_for;
use programs::{Hook, Types, registry, source};
use std::{
    ffi::OsString,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, mpsc},
    time::Duration,
};

const OPTIMIZATIONS: [&str; 2] = ["-O2", "-Os"];

/// Most instructions that the verifier may look at in a program, of the million that it takes:
/// kernels and compilers differ, and authors' programs do more than these.
const BUDGET: u32 = 250_000;

#[test]
fn every_natural_program_loads_whatever_compiler_optimization_and_headers_made_it() {
    let builds = Build::all();
    let folder = scratch("shapes");
    let mut programs = 0;
    for types in Types::ALL {
        for hook in Hook::ALL {
            let (text, names) = source(hook, types);
            fs::write(folder.join(format!("{hook:?}.{types:?}.bpf.c")), text).unwrap();
            programs += names.len();
        }
    }
    assert!(programs / Types::ALL.len() >= 60, "{programs} programs");
    in_sandbox_for(Duration::from_secs(3600), move |_| {
        vmlinux(&folder);
        let todo = Mutex::new(builds.into_iter());
        let (send, objects) = mpsc::channel();
        let mut failed = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                let (send, todo, folder) = (send.clone(), &todo, &folder);
                scope.spawn(move || {
                    loop {
                        let Some(build) = todo.lock().unwrap().next() else {
                            break;
                        };
                        let object = build.compile(folder);
                        send.send((build, object)).unwrap();
                    }
                });
            }
            drop(send);
            let registry = registry();
            let options = ObjectOptions {
                registry: Some(&registry),
                ..Default::default()
            };
            for (build, object) in objects {
                let loaded = object.and_then(|elf| {
                    Object::load("it", &elf, &options).map_err(|error| error.to_string())
                });
                match loaded.and_then(|object| build.most_instructions(&object)) {
                    Ok(most) => println!("{build:?}: {most}"),
                    Err(why) => {
                        println!("{build:?}: {why}\n");
                        failed.push(build);
                    }
                }
            }
        });
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

/// One object.
#[derive(Debug)]
struct Build {
    clang: OsString,
    optimization: &'static str,
    types: Types,
    hook: Hook,
}

impl Build {
    fn all() -> Vec<Self> {
        let mut clangs = clangs();
        match std::env::var("PKTMETA_MATRIX") {
            Ok(all) if all == "all" => {}
            Ok(one) => clangs.retain(|clang| *clang == *one),
            Err(_) => {
                clangs = vec![clangs[0].clone(), clangs[clangs.len() - 1].clone()];
                clangs.dedup();
            }
        }
        assert!(
            !clangs.is_empty(),
            "PKTMETA_MATRIX names no compiler that is here"
        );
        let mut all = Vec::new();
        for clang in clangs {
            for optimization in OPTIMIZATIONS {
                for types in Types::ALL {
                    all.extend(Hook::ALL.map(|hook| Self {
                        clang: clang.clone(),
                        optimization,
                        types,
                        hook,
                    }));
                }
            }
        }
        all
    }

    /// The object, or what the compiler said.
    fn compile(&self, folder: &Path) -> Result<Vec<u8>, String> {
        let Self {
            clang,
            optimization,
            types,
            hook,
        } = self;
        let object = format!("{}{optimization}.{types:?}.{hook:?}.o", clang.display());
        let object = folder.join(object.replace('/', "."));
        let headers = match types {
            Types::Linux => pktmeta_headers::UAPI.to_owned(),
            Types::Vmlinux => folder.display().to_string(),
        };
        let output = Command::new(clang)
            .args(["-g", "-target", "bpf", "-mcpu=v3"])
            .args(["-Wall", "-Wextra", "-Wshadow", "-Werror"])
            .args([optimization, "-I", pktmeta_headers::INCLUDE])
            .args(["-I", &headers, "-c"])
            .arg(folder.join(format!("{hook:?}.{types:?}.bpf.c")))
            .arg("-o")
            .arg(&object)
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(fs::read(object).unwrap())
    }

    /// Which of the programs the verifier had to look at longest, or that this was too long.
    fn most_instructions(&self, object: &Object) -> Result<String, String> {
        let (_, names) = source(self.hook, self.types);
        let verified = names.into_iter().map(|name| {
            let stats = ProgramStats::of(object.program(&name).unwrap().as_fd()).unwrap();
            (stats.verified_instructions, name)
        });
        let (most, name) = verified.max().unwrap();
        let said = format!("{most} of {BUDGET} instructions in {name}");
        if most > BUDGET { Err(said) } else { Ok(said) }
    }
}

/// The types of the running kernel, as the documents say to make them.
fn vmlinux(folder: &Path) {
    let command = "bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h";
    let mut shell = Command::new("sh");
    let made = shell.args(["-c", command]).current_dir(folder).status();
    assert!(made.unwrap().success(), "run `cargo xtask setup`");
}

/// An empty folder.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
