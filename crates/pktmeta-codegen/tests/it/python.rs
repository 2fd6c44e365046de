//! The generated Python package, checked and run.

use crate::tool;
use pktmeta_codegen::{Language, generate};
use std::{fs, path::PathBuf, process::Command};

/// Reads records with the generated package.
pub(crate) fn reader() -> impl Fn() -> Command {
    const PROGRAM: &str = include_str!("../python/print.py");
    let directory = package("python-run");
    move || {
        let mut python = Command::new("python3");
        let arguments = ["-B", "-W", "error", "-c", PROGRAM];
        python.args(arguments).env("PYTHONPATH", &directory);
        python
    }
}

#[test]
fn python_fields_refuse_values_that_they_cannot_have() {
    let directory = package("python-values");
    tool::run(
        Command::new("python3")
            .args([
                "-B",
                "-W",
                "error",
                "-c",
                include_str!("../python/values.py"),
            ])
            .env("PYTHONPATH", directory),
        "",
    );
}

#[test]
fn the_package_has_a_type_for_everything() {
    let directory = package("python-types");
    tool::run(
        Command::new("mypy").current_dir(&directory).args([
            "--strict",
            "--cache-dir=/dev/null",
            "pktmeta",
        ]),
        "",
    );
}

#[test]
fn no_owners_module_is_hidden_by_the_package() {
    let directory = package("python-names");
    let script = "import re, pktmeta\n\
                  print([name for name in vars(pktmeta) if re.fullmatch('[a-z][a-z0-9_]*', name)])";
    let printed = tool::run(
        Command::new("python3")
            .args(["-B", "-c", script])
            .env("PYTHONPATH", directory),
        "",
    );
    assert_eq!(printed, "[]\n");
}

#[test]
fn a_value_can_be_read_where_any_object_will_do_and_only_its_own_be_set() {
    let directory = package("python-use");
    let used = "import pktmeta\nfrom pktmeta import edge\n\n\n\
                def use(record: pktmeta.Record) -> int:\n    \
                    print(f\"{record.get(edge.TENANT)}\", record.get(edge.VERDICT))\n    \
                    return record.set(edge.TENANT, 7).get(edge.TENANT) or 0\n";
    let mypy = |text: &str| {
        fs::write(directory.join("use.py"), text).unwrap();
        let mut mypy = Command::new("mypy");
        mypy.current_dir(&directory)
            .args(["--strict", "--cache-dir=/dev/null", "use.py"]);
        mypy.output().unwrap()
    };
    let right = mypy(used);
    assert!(right.status.success(), "{right:?}");
    for (from, to) in [
        ("7", "b'seven'"),
        ("edge.TENANT) or 0", "edge.COOKIE) or 0"),
    ] {
        let wrong = mypy(&used.replace(from, to));
        assert!(!wrong.status.success(), "{to} passed");
    }
}

/// A directory with the package.
fn package(test: &str) -> PathBuf {
    let directory = tool::directory(test);
    let package = directory.join("pktmeta");
    fs::create_dir(&package).unwrap();
    for file in generate(Language::Python, &crate::input()).unwrap() {
        fs::write(package.join(file.name), file.text).unwrap();
    }
    directory
}
