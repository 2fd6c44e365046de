//! Every command of the pages, in a Debian 12 that has nothing else.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::{setup, tool};

/// The tests that run the pages, and which of them is the page that says what to install.
const PAGES: &str = "pages::every_command_";
const README: &str = "pages::every_command_of_the_readme_runs_as_printed";

/// Leaves out what passed when this was run before.
const RESUME: &str = "--resume";

/// Runs README, then other pages where README's commands were run: all, or those in whose test's
/// name one of the words is.
pub(crate) fn run(arguments: &[OsString]) -> Result {
    let words = words(arguments)?;
    setup::to_bootstrap()?;
    let bare = Bare::make(tool::root().join("target/bare"))?;
    // In the bare root cargo has no network.
    tool::run(tool::cargo_in_workspace().args(["fetch", "--locked"]))?;
    tool::run(tests().arg("--no-run"))?;
    let wanted = wanted(all()?, &words, |page| bare.has_passed(page));
    if wanted.is_empty() {
        return Err(Error::new(format!(
            "there is nothing to run: `cargo xtask docs {}` may have passed, or no test {PAGES}* \
             has such a word in its name",
            words.join(" ")
        )));
    }
    eprintln!(
        "docs: what a page prints is in {}/PAGE.log",
        bare.0.display()
    );
    let mut failed = Vec::new();
    for (at, page) in wanted.iter().enumerate() {
        eprintln!("docs: {} of {}: {page}", at + 1, wanted.len());
        let began = Instant::now();
        let end = bare.runs(page);
        let seconds = began.elapsed().as_secs();
        match &end {
            Ok(()) => eprintln!("docs: passed in {seconds} s: {page}"),
            Err(error) => eprintln!("docs: FAILED in {seconds} s: {page}: {error}"),
        }
        if end.is_err() {
            failed.push(page.as_str());
            // The other pages begin where README ends.
            if page == README {
                break;
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::new(format!(
            "failed: {}\n`cargo xtask docs {RESUME}` runs what has not passed.",
            failed.join(", ")
        ))),
    }
}

/// What the names of tests have to have. `--resume` is a word that none has.
fn words(arguments: &[OsString]) -> Result<Vec<&str>> {
    let words = arguments.iter().map(|word| match word.to_str() {
        Some(word) if word == RESUME || !word.starts_with('-') => Ok(word),
        _ => Err(Error::new(format!(
            "`{}` is neither {RESUME} nor a word of a test's name",
            word.display()
        ))),
    });
    words.collect()
}

/// The pages to run, in their order, README first if it has to be.
fn wanted(all: Vec<String>, words: &[&str], has_passed: impl Fn(&str) -> bool) -> Vec<String> {
    let resumes = words.contains(&RESUME);
    let named: Vec<_> = words.iter().filter(|word| **word != RESUME).collect();
    let is_wanted = |page: &String| {
        let is_named = named.is_empty() || named.iter().any(|word| page.contains(**word));
        is_named && !(resumes && has_passed(page))
    };
    let mut wanted: Vec<_> = all.into_iter().filter(is_wanted).collect();
    wanted.retain(|page| page != README);
    let needs_readme = !wanted.is_empty() && !has_passed(README);
    let asks_for_it = named.is_empty() || named.iter().any(|word| README.contains(**word));
    if needs_readme || (asks_for_it && !(resumes && has_passed(README))) {
        wanted.insert(0, README.into());
    }
    wanted
}

/// The names of the tests.
fn all() -> Result<Vec<String>> {
    let mut list = tests();
    list.args(["--", "--list", PAGES]).stderr(Stdio::inherit());
    let list = list.output();
    let list = list.map_err(|error| Error::new(format!("cannot list the tests: {error}")))?;
    let list = String::from_utf8_lossy(&list.stdout);
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

fn tests() -> Command {
    let mut tests = tool::cargo_in_workspace();
    tests.args(["test", "--package", "pktmeta-cli", "--test", "it"]);
    tests
}

/// The folder of the bare Debian, of what the pages wrote above it, and of what they share.
struct Bare(PathBuf);

impl Bare {
    /// A Debian with its essential packages and apt-get, unless there is one from before.
    fn make(bare: PathBuf) -> Result<Self> {
        let failed = |error| Error::new(format!("cannot prepare {}: {error}", bare.display()));
        fs::create_dir_all(bare.join("passed")).map_err(failed)?;
        let root = bare.join("root");
        if root.exists() {
            return Ok(Self(bare));
        }
        let unfinished = bare.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        eprintln!("docs: making a bare Debian 12 in {}", root.display());
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--variant=minbase", "bookworm"]);
        tool::run(mmdebstrap.arg(&unfinished))?;
        fs::rename(&unfinished, &root).map_err(failed)?;
        Ok(Self(bare))
    }

    /// Runs the test of a page, and remembers whether it passed.
    fn runs(&self, page: &str) -> Result {
        let passed = self.passed(page);
        let failed = |error| Error::new(format!("cannot write {}: {error}", passed.display()));
        if passed.exists() {
            fs::remove_file(&passed).map_err(failed)?;
        }
        let mut test = tests();
        test.args(["--", "--exact", page, "--nocapture"]);
        test.env("PKTMETA_BARE", &self.0);
        // Whose network is not the sandbox's.
        test.env("PKTMETA_OUTSIDE", std::process::id().to_string());
        tool::run(&mut test)?;
        fs::write(&passed, "").map_err(failed)
    }

    fn has_passed(&self, page: &str) -> bool {
        self.passed(page).exists()
    }

    fn passed(&self, page: &str) -> PathBuf {
        self.0.join("passed").join(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "pages::every_command_that_changes_labels";
    const THIRD: &str = "pages::every_command_on_reach";

    fn run(words: &[&str], passed: &[&str]) -> Vec<String> {
        let all = [OTHER, README, THIRD].map(str::to_owned).to_vec();
        wanted(all, words, |page| passed.contains(&page))
    }

    #[test]
    fn readme_is_first_and_runs_again_only_when_that_is_wanted() {
        assert_eq!(run(&[], &[README, OTHER]), [README, OTHER, THIRD]);
        assert_eq!(run(&["labels"], &[]), [README, OTHER]);
        assert_eq!(run(&["labels"], &[README, OTHER]), [OTHER]);
        assert_eq!(run(&["readme"], &[README]), [README]);
    }

    #[test]
    fn what_has_passed_is_left_out_of_what_is_resumed() {
        assert_eq!(run(&[RESUME], &[README, THIRD]), [OTHER]);
        assert_eq!(run(&[RESUME], &[THIRD]), [README, OTHER]);
        assert_eq!(run(&[RESUME], &[README, OTHER, THIRD]), [""; 0]);
    }
}
