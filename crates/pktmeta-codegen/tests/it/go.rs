//! The generated Go package, checked and run.

use crate::tool;
use pktmeta_codegen::{Language, generate};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Reads records with the generated package.
pub(crate) fn reader() -> impl Fn() -> Command {
    let directory = tool::directory("go-run");
    for file in generate(Language::Go, &crate::input()).unwrap() {
        let program = file.text.replace("\npackage pktmeta\n", "\npackage main\n");
        fs::write(directory.join(file.name), program).unwrap();
    }
    fs::write(directory.join("print.go"), include_str!("../go/print.go")).unwrap();
    fs::write(directory.join("go.mod"), MODULE).unwrap();
    tool::run(go(&directory).args(["build", "-o", "print", "."]), "");
    move || Command::new(directory.join("print"))
}

#[test]
fn the_package_is_as_gofmt_leaves_it_and_vet_finds_nothing() {
    let directory = package("go-vet");
    let differing = tool::run(
        Command::new("gofmt")
            .current_dir(&directory)
            .args(["-l", "."]),
        "",
    );
    assert_eq!(differing, "");
    tool::run(go(&directory).args(["vet", "."]), "");
}

#[test]
fn go_fields_refuse_values_that_they_cannot_have() {
    let directory = package("go-values");
    let tests = include_str!("../go/values_test.go");
    fs::write(directory.join("values_test.go"), tests).unwrap();
    let said = tool::run(go(&directory).args(["test", "-v", "."]), "");
    assert_eq!(said.matches("--- PASS").count(), 4, "{said}");
}

const MODULE: &str = "module example.org/pktmeta\n\ngo 1.19\n";

/// A module that is the package.
fn package(test: &str) -> PathBuf {
    let directory = tool::directory(test);
    for file in generate(Language::Go, &crate::input()).unwrap() {
        fs::write(directory.join(file.name), file.text).unwrap();
    }
    fs::write(directory.join("go.mod"), MODULE).unwrap();
    directory
}

/// The command, which fetches nothing.
fn go(directory: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(directory)
        .envs([
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOFLAGS", "-mod=readonly"),
        ])
        .env(
            "GOCACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"),
        );
    go
}
