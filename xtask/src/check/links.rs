//! Links of the documents: what they name is there, and the book has every page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::tool;

/// The book's table of contents, and the folder whose pages it must list.
const SUMMARY: &str = "docs/SUMMARY.md";
const BOOK: &str = "docs";

/// Checks the Markdown files among those that git tracks.
pub(super) fn check(tracked: &[PathBuf]) -> Result {
    let pages: BTreeMap<&Path, Page> = tracked
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .map(|path| Ok((path.as_path(), Page::read(path)?)))
        .collect::<Result<_>>()?;
    let mut faults = String::new();
    for (path, page) in &pages {
        for link in &page.links {
            if let Some(fault) = fault(path, link, tracked, &pages) {
                let _ = writeln!(faults, "{}: {link}: {fault}", path.display());
            }
        }
    }
    for path in missing_from_book(&pages) {
        let _ = writeln!(faults, "{SUMMARY} does not list {}", path.display());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!("links that lead nowhere:\n{faults}")))
    }
}

/// What matters of a Markdown file: where it leads, and what can be led to in it.
#[derive(Debug, Default, PartialEq)]
struct Page {
    links: Vec<String>,
    anchors: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(tool::root().join(path))
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        Ok(Self::parse(&text))
    }

    /// Blocks of code have no links, and lines in them that begin with `#` are no headings.
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut is_code = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                page.links.extend(links(line));
                if let Some(heading) = line.strip_prefix('#') {
                    page.anchors.push(anchor(heading.trim_start_matches('#')));
                }
            }
        }
        page
    }
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = String> + '_ {
    let after = line.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_string()))
}

/// How a heading is named in links, by GitHub and by mdBook: in small letters, spaces as hyphens,
/// and of the rest only letters, digits, hyphens and underscores.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// What is wrong with a link of a page.
fn fault(
    page: &Path,
    link: &str,
    tracked: &[PathBuf],
    pages: &BTreeMap<&Path, Page>,
) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None; // of the network, which a check does not depend on
    }
    let (path, name) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        page.to_path_buf()
    } else {
        resolve(page, path)
    };
    let is_there = |path: &PathBuf| path == &target || path.starts_with(&target);
    if !tracked.iter().any(is_there) {
        return Some("no such file or folder");
    }
    if page.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some("leads out of the book, which has only its own folder");
    }
    if name.is_empty() {
        return None;
    }
    let heads = |page: &Page| page.anchors.iter().any(|anchor| anchor == name);
    let found = pages.get(target.as_path()).is_some_and(heads);
    (!found).then_some("no such heading")
}

/// The path of the repository that a page means with a relative one.
fn resolve(page: &Path, relative: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(relative).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// Pages below the book's folder that its contents do not list.
fn missing_from_book<'a>(pages: &BTreeMap<&'a Path, Page>) -> Vec<&'a Path> {
    let summary = Path::new(SUMMARY);
    let listed: Vec<PathBuf> = pages.get(summary).map_or_else(Vec::new, |contents| {
        let links = contents.links.iter();
        links.map(|link| resolve(summary, link)).collect()
    });
    let of_book = |path: &&Path| path.starts_with(BOOK) && *path != summary;
    pages
        .keys()
        .copied()
        .filter(of_book)
        .filter(|path| !listed.iter().any(|page| page == path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (Vec<PathBuf>, BTreeMap<&'static Path, Page>) {
        let tracked = [
            "README.md",
            "docs/a.md",
            "docs/guide/b.md",
            "docs/SUMMARY.md",
            "src/x.c",
        ];
        let pages = [
            ("README.md", "[a](docs/a.md) [x](src/x.c) ![s](src)\n"),
            ("docs/a.md", "# A title: of `two` parts\n[b](guide/b.md)\n"),
            (
                "docs/guide/b.md",
                "[a](../a.md#a-title-of-two-parts)\n```\n# no\n```",
            ),
            ("docs/SUMMARY.md", "- [A](a.md)\n"),
        ];
        (
            tracked.map(PathBuf::from).to_vec(),
            pages
                .map(|(path, text)| (Path::new(path), Page::parse(text)))
                .into(),
        )
    }

    fn fault_of(page: &str, link: &str) -> Option<&'static str> {
        let (tracked, pages) = site();
        fault(Path::new(page), link, &tracked, &pages)
    }

    #[test]
    fn links_to_files_folders_and_headings_are_found() {
        let (tracked, pages) = site();
        for (path, page) in &pages {
            for link in &page.links {
                assert_eq!(fault(path, link, &tracked, &pages), None, "{link}");
            }
        }
        assert_eq!(fault_of("docs/a.md", "https://example.org/x"), None);
        assert_eq!(fault_of("docs/a.md", "#a-title-of-two-parts"), None);
    }

    #[test]
    fn a_link_to_nowhere_says_what_is_missing() {
        let no_file = Some("no such file or folder");
        assert_eq!(fault_of("docs/a.md", "b.md"), no_file);
        assert_eq!(fault_of("docs/guide/b.md", "a.md"), no_file);
        assert_eq!(
            fault_of("docs/a.md", "guide/b.md#no"),
            Some("no such heading")
        );
    }

    #[test]
    fn a_page_of_the_book_leads_nowhere_outside() {
        let out = "leads out of the book, which has only its own folder";
        assert_eq!(fault_of("docs/a.md", "../src/x.c"), Some(out));
        assert_eq!(fault_of("README.md", "src/x.c"), None);
    }

    #[test]
    fn a_page_that_the_book_does_not_list_is_found() {
        let (_, pages) = site();
        assert_eq!(missing_from_book(&pages), [Path::new("docs/guide/b.md")]);
    }
}
