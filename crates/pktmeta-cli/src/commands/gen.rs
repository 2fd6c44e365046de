//! `pktmeta gen`

use crate::{
    arguments::read_schema,
    files::{self, NewFile},
    output::{self, say},
};
use anyhow::{Context, bail};
use pktmeta_bpf::Datapath;
use pktmeta_codegen::{GeneratedFile, Input, Language, generate, is_generated};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Write what schemas say as C, Rust, Python, Go, a Wireshark dissector or a page
///
/// The same schemas give the same files, to be checked in. Files that say what was written already
/// are left alone, and so are files that somebody else wrote.
#[derive(clap::Args)]
#[command(
    after_help = "Examples: pktmeta gen c edge.toml -o include\n          \
    pktmeta gen wireshark edge.toml --numbers host > pktmeta.lua"
)]
pub(crate) struct Gen {
    /// What to write
    #[arg(value_enum)]
    language: Target,
    /// Schema files; json-schema takes none
    schema: Vec<PathBuf>,
    /// Directory to write to; `-`, or nothing, prints a single file
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// wireshark: whose numbers the fields have [default: schema]
    #[arg(long, value_enum)]
    numbers: Option<Numbers>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Target {
    /// A header for each owner, for BPF programs and applications
    C,
    /// A module for each owner, for applications that link pktmeta
    Rust,
    /// A package with a module for each owner, for applications
    Python,
    /// A package with a file for each owner, for applications
    Go,
    /// One dissector for the records of all
    Wireshark,
    /// A page for each owner, in Markdown
    Reference,
    /// The JSON Schema of schema files, for editors
    JsonSchema,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Numbers {
    /// Those that this host has given to the fields
    Host,
    /// In the order of the schemas: those of a host that has no other fields
    Schema,
}

impl Gen {
    pub(crate) fn run(self, bpffs: &Path) -> anyhow::Result<ExitCode> {
        self.check()?;
        let schemas: Result<_, _> = self.schema.iter().map(|file| read_schema(file)).collect();
        let mut input = Input::new(schemas?)?;
        if self.numbers == Some(Numbers::Host) {
            input = input.with_registry(Datapath::new(bpffs).registry().read()?);
        }
        let files = generate(self.language.into(), &input)?;
        match &self.output {
            Some(directory) if directory != Path::new("-") => write(directory, &files)?,
            _ => print(&files)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What clap cannot say: which arguments go with which language.
    fn check(&self) -> anyhow::Result<()> {
        let of_files = self.language == Target::JsonSchema;
        if of_files && !self.schema.is_empty() {
            bail!(
                "gen json-schema describes all schema files and reads none\n  = leave {} out",
                output::name(&self.schema[0]) // not empty, just seen
            );
        }
        if !of_files && self.schema.is_empty() {
            bail!("nothing to generate from\n  = name one or more schema files: docs/schema.md");
        }
        if self.numbers.is_some() && self.language != Target::Wireshark {
            bail!(
                "--numbers is for wireshark: everything else finds numbers by name when it runs\n  \
                 = leave it out"
            );
        }
        Ok(())
    }
}

impl From<Target> for Language {
    fn from(target: Target) -> Self {
        match target {
            Target::C => Self::C,
            Target::Rust => Self::Rust,
            Target::Python => Self::Python,
            Target::Go => Self::Go,
            Target::Wireshark => Self::Wireshark,
            Target::Reference => Self::Reference,
            Target::JsonSchema => Self::JsonSchema,
        }
    }
}

fn print(files: &[GeneratedFile]) -> anyhow::Result<()> {
    let [file] = files else {
        bail!(
            "{} files do not go to standard output one after another\n  \
             = name a directory with -o DIR",
            files.len()
        );
    };
    Ok(output::print_as_it_is(&file.text)?)
}

/// Writes all files or, if one of them is somebody's own or has no room, none.
fn write(directory: &Path, files: &[GeneratedFile]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("make the directory {}", output::name(directory)))?;
    let mut ready = Vec::new();
    for file in files {
        let path = directory.join(&file.name);
        let old = read(&path)?;
        if old.as_deref().is_some_and(|old| !is_generated(old)) {
            bail!(
                "write {path}: it is there, and pktmeta did not generate it; nothing was \
                 written\n  = move it away, or name another directory with -o",
                path = output::name(&path)
            );
        }
        let mut new = None;
        if old.as_deref() != Some(file.text.as_str()) {
            let file_to_be = new.insert(NewFile::create(&path, &path)?);
            file_to_be.fill(file.text.as_bytes())?;
        }
        ready.push((path, new));
    }
    for (path, new) in ready {
        let shown = output::name(&path);
        match new {
            Some(new) => {
                new.publish()?;
                say!("{shown}: written")?;
            }
            None => say!("{shown}: unchanged")?,
        }
    }
    Ok(())
}

/// More than any schema of `Schema::FILE_MAX` bytes becomes.
const GENERATED_MAX: u64 = 64 << 20;

/// The text of a file; `None` if it is not there. A file that is no text was not generated.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match files::read(path, GENERATED_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", output::name(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> GeneratedFile {
        GeneratedFile {
            name: name.into(),
            text: format!("// Generated by `pktmeta gen rust`\n{text}\n"),
        }
    }

    #[test]
    fn files_are_written_once_and_those_of_others_never() {
        let directory = std::env::temp_dir().join(format!("pktmeta-gen-{}", std::process::id()));
        let (a, b) = (directory.join("a.rs"), directory.join("b.rs"));
        let files = [file("a.rs", "1"), file("b.rs", "1")];
        write(&directory, &files).unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), files[0].text);
        let written = fs::metadata(&a).unwrap().modified().unwrap();
        write(&directory, &files).unwrap();
        assert_eq!(fs::metadata(&a).unwrap().modified().unwrap(), written);
        fs::write(&b, "mine").unwrap();
        let error = write(&directory, &[file("a.rs", "2"), file("b.rs", "2")]).unwrap_err();
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read_to_string(&a).unwrap(), files[0].text);
        assert_eq!(fs::read_to_string(&b).unwrap(), "mine");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn several_files_are_not_printed() {
        let error = print(&[file("a.rs", "1"), file("b.rs", "1")]).unwrap_err();
        assert!(error.to_string().contains("-o DIR"), "{error}");
    }
}
