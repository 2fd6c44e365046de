//! The public API of each crate that is published: `api.txt` beside its Cargo.toml lists it, so
//! that a change of it is seen in review.
//!
//! A public type that cannot grow says why. Both are read from rustdoc's JSON, whose format changes
//! from one Rust to the next: hence the one toolchain, and its permission to use what is unstable.

mod exhaustive;

use anyhow::{Context, bail, ensure};
use public_api::{Builder, PublicApi};
use serde_json::Value;
use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The Rust whose rustdoc describes the crates.
const TOOLCHAIN: &str = "1.95.0";

fn main() -> anyhow::Result<()> {
    let write = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--write" => true,
        other => bail!("`{}`: there is only --write", other.join(" ")),
    };
    let mut changes = String::new();
    let mut unexplained = String::new();
    for library in published()? {
        let rustdoc = library.rustdoc()?;
        let text = fs::read(&rustdoc).with_context(|| format!("read {}", rustdoc.display()))?;
        for name in exhaustive::without_reason(&serde_json::from_slice(&text)?) {
            writeln!(unexplained, "{}: {name}", library.name)?;
        }
        let listed = library.list(rustdoc)?;
        let file = library.folder.join("api.txt");
        if write {
            fs::write(&file, listed).with_context(|| format!("write {}", file.display()))?;
            continue;
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        for (sign, line) in difference(&before, &listed) {
            writeln!(changes, "{sign} {line}")?;
        }
    }
    ensure!(
        unexplained.is_empty(),
        "these types cannot grow, and do not say why:\n{unexplained}\
         Make them `#[non_exhaustive]`, or document the reason: \"Exhaustive: ...\""
    );
    ensure!(
        changes.is_empty(),
        "the public API is not what the api.txt files list:\n{changes}\
         If that is meant: `cargo xtask api --write`, and a line in CHANGELOG.md"
    );
    Ok(())
}

/// A crate that others can depend on.
struct Library {
    name: String,
    folder: PathBuf,
    documents: PathBuf,
}

impl Library {
    /// Makes rustdoc describe the library, and returns the file.
    fn rustdoc(&self) -> anyhow::Result<PathBuf> {
        let status = Command::new("rustup")
            .args(["run", TOOLCHAIN, "cargo", "rustdoc", "--quiet", "--lib"])
            .args(["--all-features", "--package", &self.name])
            .arg("--target-dir")
            .arg(&self.documents)
            .args([
                "--",
                "-Zunstable-options",
                "--output-format=json",
                "--cap-lints=allow",
            ])
            .env("RUSTC_BOOTSTRAP", "1")
            // Of the cargo that runs this.
            .env_remove("RUSTC")
            .env_remove("RUSTDOC")
            .env_remove("RUSTUP_TOOLCHAIN")
            .stdout(io::stderr())
            .status()
            .context("run rustup")?;
        ensure!(
            status.success(),
            "rustdoc of {} failed: {status}",
            self.name
        );
        let json = format!("doc/{}.json", self.name.replace('-', "_"));
        Ok(self.documents.join(json))
    }

    /// Lists what is public.
    fn list(&self, rustdoc: PathBuf) -> anyhow::Result<String> {
        let api: PublicApi = Builder::from_rustdoc_json(rustdoc)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .build()
            .with_context(|| format!("read rustdoc's JSON of {}", self.name))?;
        Ok(api.to_string())
    }
}

/// The libraries of the workspace but those that say `publish = false`.
fn published() -> anyhow::Result<Vec<Library>> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .output()
        .context("run cargo metadata")?;
    let said = String::from_utf8_lossy(&metadata.stderr);
    ensure!(metadata.status.success(), "cargo metadata: {said}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("a target directory")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let is_library = |package: &Value| {
        let targets = list(&package["targets"]);
        targets
            .iter()
            .any(|target| list(&target["kind"]).contains(&"lib".into()))
    };
    let packages = list(&metadata["packages"]).into_iter();
    packages
        .filter(|package| package["publish"].is_null() && is_library(package))
        .map(|package| {
            let manifest = package["manifest_path"].as_str().context("a manifest")?;
            Ok(Library {
                name: package["name"].as_str().context("a name")?.to_owned(),
                folder: Path::new(manifest).parent().context("a folder")?.to_owned(),
                documents: Path::new(target).join("api"),
            })
        })
        .collect()
}

/// Lines that are only in the first or only in the second text.
fn difference<'t>(before: &'t str, after: &'t str) -> Vec<(char, &'t str)> {
    let only = |sign, in_this: &'t str, not_in: &'t str| {
        let lines = in_this.lines();
        let lines = lines.filter(move |line| !not_in.lines().any(|other| other == *line));
        lines.map(move |line| (sign, line))
    };
    only('-', before, after)
        .chain(only('+', after, before))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went_is_shown() {
        let changes = difference("pub fn a()\npub fn b()\n", "pub fn b()\npub fn c()\n");
        assert_eq!(changes, [('-', "pub fn a()"), ('+', "pub fn c()")]);
    }
}
