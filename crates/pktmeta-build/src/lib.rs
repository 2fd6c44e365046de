//! Compiles BPF programs that use pktmeta's headers, for build scripts.
//!
//! A crate with BPF programs of its own depends on `pktmeta-bpf`, which says where it found clang
//! and libbpf's headers, and has this crate among its build-dependencies:
//!
//! ```no_run
//! // in the `main` of build.rs
//! pktmeta_build::build(&pktmeta_build::of_pktmeta(), "src/steer.bpf.c");
//! ```
//!
//! The object is then `OUT_DIR/steer.bpf.o`. Cargo learns from the compiler which files it read:
//! the object is made again when one of them changes, be it a header of pktmeta's or of libbpf's.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

/// The versions of clang that BPF programs are built with: the oldest whose output the verifier is
/// known to take, and the newest whose name is tried.
pub const CLANG: RangeInclusive<u32> = 14..=30;

/// The variable of the environment that names another clang.
pub const CLANG_VARIABLE: &str = "BPF_CLANG";

/// A clang, and the headers that programs are compiled with. The building machine's own headers are
/// not used unless that is wanted.
#[derive(Clone, Debug)]
pub struct Compiler {
    clang: OsString,
    arguments: Vec<OsString>,
    machine_headers: bool,
}

impl Compiler {
    /// This clang, with pktmeta's headers, the kernel's, and libbpf's, which are in a folder `bpf`
    /// of `libbpf`.
    #[must_use]
    pub fn new(clang: impl Into<OsString>, libbpf: impl AsRef<OsStr>) -> Self {
        let compiler = Self {
            clang: clang.into(),
            arguments: Vec::new(),
            machine_headers: false,
        };
        let target = ["-g", "-O2", "-target", "bpf", "-mcpu=v3"];
        compiler
            .arguments(target)
            .arguments(["-Wall", "-Wextra", "-Wshadow", "-Werror"])
            .arguments(["-I", pktmeta_headers::INCLUDE, "-I", pktmeta_headers::UAPI])
            .arguments([OsStr::new("-isystem"), libbpf.as_ref()])
            .shown_as(pktmeta_headers::INCLUDE, "include")
    }

    /// Adds arguments of clang.
    #[must_use]
    pub fn arguments(mut self, more: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// Lets programs include the headers of the building machine too, which may be of another
    /// kernel: headers of protocols are the same everywhere.
    #[must_use]
    pub fn with_machine_headers(mut self) -> Self {
        self.machine_headers = true;
        self
    }

    /// Gives a folder another name in the object, so that the object is the same wherever it was
    /// built.
    #[must_use]
    pub fn shown_as(self, folder: impl AsRef<Path>, name: &str) -> Self {
        let folder = folder.as_ref().display();
        self.arguments([format!("-ffile-prefix-map={folder}={name}")])
    }

    /// Compiles a source to an object, and returns the files that clang read.
    ///
    /// # Errors
    /// Clang is not there, or the source does not compile: the error has clang's output.
    pub fn compile(&self, source: &Path, object: &Path) -> Result<Vec<PathBuf>, Error> {
        let dependencies = object.with_extension("d");
        let output = Command::new(&self.clang)
            .args((!self.machine_headers).then_some("-nostdinc"))
            .args(&self.arguments)
            .args(["-MD", "-MF"])
            .arg(&dependencies)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(object)
            .output()
            .map_err(|error| {
                Error::new(format!("{} did not start: {error}", self.clang.display()))
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let (clang, source) = (self.clang.display(), source.display());
            return Err(Error::new(format!(
                "{clang} did not compile {source}:\n{said}"
            )));
        }
        let inputs = fs::read_to_string(&dependencies).map(|rule| prerequisites(&rule));
        let inputs = inputs.and_then(|inputs| fs::remove_file(&dependencies).map(|()| inputs));
        inputs
            .map_err(|error: io::Error| Error::new(format!("{}: {error}", dependencies.display())))
    }
}

/// Why something was not compiled.
#[derive(Clone, Debug)]
pub struct Error {
    message: String,
    remedy: Option<String>,
}

impl Error {
    fn new(message: String) -> Self {
        let remedy = None;
        Self { message, remedy }
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The clang to use: the one that `BPF_CLANG` names, else the newest `clang-NN` in the path, else
/// `clang`.
///
/// # Errors
/// There is no clang.
pub fn find_clang() -> Result<OsString, Error> {
    if let Some(clang) = env::var_os(CLANG_VARIABLE) {
        return Ok(clang);
    }
    let plain = ["clang".into()].into_iter();
    let mut clangs = names().rev().chain(plain);
    clangs.find(runs).ok_or_else(|| Error {
        message: format!(
            "no clang in the path: the BPF programs need clang {} or newer",
            CLANG.start()
        ),
        remedy: Some(format!(
            "on Debian, `cargo xtask setup` or `apt-get install clang`; or name one in \
             {CLANG_VARIABLE}"
        )),
    })
}

/// The clangs that tests compile programs with: those of Debian 12 and 13, and last the newest.
/// Every program has to load with each of them, within its budget.
pub const TESTED: [&str; 4] = ["clang-14", "clang-16", "clang-19", "clang-22"];

/// The tested clangs that are in the path, the oldest first, and last the one that `BPF_CLANG`
/// names; if there is none of these, the one of [`find_clang`].
#[must_use]
pub fn clangs() -> Vec<OsString> {
    let tested = TESTED.map(OsString::from);
    let named = env::var_os(CLANG_VARIABLE);
    let mut clangs: Vec<_> = tested.into_iter().filter(runs).chain(named).collect();
    if clangs.is_empty() {
        clangs.extend(find_clang());
    }
    clangs
}

/// The names of numbered clangs: `clang-14` and so on.
pub fn names() -> impl DoubleEndedIterator<Item = OsString> {
    CLANG.map(|version| format!("clang-{version}").into())
}

fn runs(clang: &OsString) -> bool {
    let version = Command::new(clang).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// The compiler that pktmeta-bpf was built with, in the build script of a crate that depends on it.
#[must_use]
pub fn of_pktmeta() -> Compiler {
    Compiler::new(
        variable("DEP_PKTMETA_CLANG"),
        variable("DEP_PKTMETA_LIBBPF"),
    )
}

/// In a build script: compiles `NAME.bpf.c` to `OUT_DIR/NAME.bpf.o`, and tells cargo the files that
/// clang read. Ends the script if it cannot.
pub fn build(compiler: &Compiler, source: impl AsRef<Path>) {
    let source = source.as_ref();
    let name = source.file_name().unwrap_or_default();
    let object = Path::new(&variable("OUT_DIR"))
        .join(name)
        .with_extension("o");
    match compiler.compile(source, &object) {
        Ok(inputs) => {
            for input in inputs {
                println!("cargo::rerun-if-changed={}", input.display());
            }
        }
        Err(error) => fail(&error),
    }
}

/// In a build script: a variable that cargo sets, or the build script of a dependency.
#[must_use]
pub fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| {
        fail(&Error::new(format!(
            "{name} is not set: is pktmeta-bpf among the dependencies?"
        )))
    })
}

/// In a build script: ends it with an error.
pub fn fail(error: &Error) -> ! {
    let remedy = error.remedy().map(|remedy| format!("= {remedy}"));
    for line in error.to_string().lines().chain(remedy.as_deref()) {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}

/// The files that the target of a make(1) rule depends on. Blanks separate the names; within a name
/// a backslash stands before a blank or `#`, and `$` is doubled. Lines end with a backslash.
fn prerequisites(rule: &str) -> Vec<PathBuf> {
    let Some((_, list)) = rule.split_once(": ") else {
        return Vec::new();
    };
    let mut names = vec![String::new()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        let last = names.len() - 1;
        match (character, characters.peek()) {
            ('\\', Some(&next @ (' ' | '#'))) | ('$', Some(&next @ '$')) => {
                names[last].push(next);
                characters.next();
            }
            ('\\', Some('\n')) => {}
            (character, _) if character.is_ascii_whitespace() => names.push(String::new()),
            (character, _) => names[last].push(character),
        }
    }
    let names = names.into_iter().filter(|name| !name.is_empty());
    names.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_with_blanks_and_signs_in_its_names() {
        let rule = "out/a.o: a.c \\\n  /x/b.h \\\n  /with\\ blank/c\\#.h /d$$.h\n";
        let names = ["a.c", "/x/b.h", "/with blank/c#.h", "/d$.h"].map(PathBuf::from);
        assert_eq!(prerequisites(rule), names);
        assert_eq!(prerequisites(""), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_clang_read_is_told_down_to_the_last_header() {
        let folder = env::temp_dir().join(format!("pktmeta build {}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("a.bpf.c", "#include \"b.h\"\n");
        write("b.h", "#include <pktmeta/abi.h>\n#include \"c.h\"\n");
        write("c.h", "int c;\n");
        let compiler = Compiler::new(find_clang().unwrap(), &folder);
        let object = folder.join("a.bpf.o");
        let inputs = compiler.compile(&folder.join("a.bpf.c"), &object).unwrap();
        for name in ["a.bpf.c", "b.h", "c.h"] {
            assert!(inputs.contains(&folder.join(name)), "{name}: {inputs:?}");
        }
        let abi = Path::new(pktmeta_headers::INCLUDE).join("pktmeta/abi.h");
        assert!(inputs.contains(&abi), "{inputs:?}");
        write("c.h", "#error \"of c.h\"\n");
        let error = compiler
            .compile(&folder.join("a.bpf.c"), &object)
            .unwrap_err();
        assert!(error.to_string().contains("of c.h"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
