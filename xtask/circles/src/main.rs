//! Which files of a crate import each other in a circle: none may, in any crate of the workspace.
//! What is in a circle can be read, tested and changed only as a whole.
//!
//! An import is a path that leads from one file to another, be it in a `use` or in the code. A name
//! that a module passes on (`pub use`) is imported from the file that defines it. What only tests
//! see (`#[cfg(test)]`) does not count.

use anyhow::{Context, anyhow, ensure};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use syn::visit::Visit;

/// Prints every circle, and fails if there is one.
fn main() -> anyhow::Result<ExitCode> {
    let roots = roots()?;
    // A file may be in several targets.
    let mut circles = BTreeSet::new();
    for root in &roots {
        circles.extend(Crate::read(root)?.circles());
    }
    for circle in &circles {
        println!("{circle}");
    }
    let (targets, found) = (roots.len(), circles.len());
    println!("{targets} libraries, programs and tests: {found} circles of imports");
    Ok(ExitCode::from(u8::from(found > 0)))
}

/// The first file of every library, program, test and example of the workspace.
fn roots() -> anyhow::Result<Vec<PathBuf>> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .output()
        .context("run cargo metadata")?;
    let said = String::from_utf8_lossy(&metadata.stderr);
    ensure!(metadata.status.success(), "cargo metadata: {said}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]).into_iter();
    let targets = packages.flat_map(|package| list(&package["targets"]));
    let roots = targets.filter_map(|target| Some(target["src_path"].as_str()?.into()));
    Ok(roots.collect())
}

/// The modules of a crate by their paths; the root's is empty.
struct Crate {
    root: PathBuf,
    modules: BTreeMap<Vec<String>, Module>,
}

/// A module that is not only for tests.
struct Module {
    file: PathBuf,
    /// What it defines.
    items: BTreeSet<String>,
    /// The names that it imports, and where they lead; it may pass them on.
    names: Vec<(String, Vec<String>)>,
    /// Modules of which it imports all names.
    globs: Vec<Vec<String>>,
    /// Paths in its code.
    paths: BTreeSet<Vec<String>>,
}

impl Crate {
    fn read(root: &Path) -> anyhow::Result<Self> {
        let folder = folder_of(root);
        let mut read = Self {
            root: folder.into(),
            modules: BTreeMap::new(),
        };
        read.add(root, folder, Vec::new())?;
        Ok(read)
    }

    /// Adds the module in `file` and those below it, which are in `folder`.
    fn add(&mut self, file: &Path, folder: &Path, path: Vec<String>) -> anyhow::Result<()> {
        let tried = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(tried)?;
        let syntax = syn::parse_file(&text).with_context(tried)?;
        self.add_items(file, folder, path, &syntax.items)
    }

    fn add_items(
        &mut self,
        file: &Path,
        folder: &Path,
        path: Vec<String>,
        items: &[syn::Item],
    ) -> anyhow::Result<()> {
        let mut module = Module::new(file);
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                syn::Item::Mod(child) => self.add_child(file, folder, &path, child)?,
                syn::Item::Use(import) => module.import(Vec::new(), &import.tree),
                item => {
                    module.items.extend(name_of(item));
                    Paths(&mut module.paths).visit_item(item);
                }
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }

    fn add_child(
        &mut self,
        file: &Path,
        folder: &Path,
        path: &[String],
        child: &syn::ItemMod,
    ) -> anyhow::Result<()> {
        let name = child.ident.to_string();
        let path = joined(path, &name);
        let subfolder = folder.join(name.trim_start_matches("r#"));
        if let Some((_, items)) = &child.content {
            return self.add_items(file, &subfolder, path, items);
        }
        if let Some(given) = path_attribute(&child.attrs) {
            let given = folder_of(file).join(given);
            return self.add(&given, folder_of(&given), path);
        }
        let mut candidates = [subfolder.with_extension("rs"), subfolder.join("mod.rs")].into_iter();
        let found = candidates.find(|candidate| candidate.exists());
        let found = found.ok_or_else(|| anyhow!("{}: no file of {name}", file.display()))?;
        self.add(&found, &subfolder, path)
    }

    /// The circles, each with the imports that make it.
    fn circles(&self) -> Vec<String> {
        let mut imports: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let names = module.names.iter().map(|(_, to)| to);
            let all = names.chain(&module.globs).chain(&module.paths);
            for to in all.filter_map(|to| self.file_of(path, to)) {
                if to != module.file {
                    imports.entry(&module.file).or_default().insert(to);
                }
            }
        }
        let reached = |from: &Path| {
            let mut reached: BTreeSet<&Path> = BTreeSet::new();
            let mut waiting: Vec<_> = imports.get(from).into_iter().flatten().copied().collect();
            while let Some(file) = waiting.pop() {
                if reached.insert(file) {
                    waiting.extend(imports.get(file).into_iter().flatten());
                }
            }
            reached
        };
        let reached: BTreeMap<_, _> = imports.keys().map(|&file| (file, reached(file))).collect();
        let mut told: BTreeSet<&Path> = BTreeSet::new();
        let mut circles = Vec::new();
        for (&file, from_here) in &reached {
            if !from_here.contains(file) || told.contains(file) {
                continue;
            }
            let leads_back = |other: &&&Path| {
                reached
                    .get(**other)
                    .is_some_and(|reached| reached.contains(file))
            };
            let circle: BTreeSet<&Path> = from_here.iter().filter(leads_back).copied().collect();
            let mut text = format!("{} files import each other:", circle.len());
            for from in &circle {
                for to in imports[from].intersection(&circle) {
                    text += &format!("\n    {} -> {}", self.shown(from), self.shown(to));
                }
            }
            circles.push(text);
            told.extend(circle);
        }
        circles
    }

    fn shown(&self, file: &Path) -> String {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .unwrap_or(Path::new(""));
        let shown = file
            .strip_prefix(workspace)
            .or_else(|_| file.strip_prefix(&self.root));
        shown.unwrap_or(file).display().to_string()
    }

    /// The file that defines what a path in the module `from` names, if this crate does.
    fn file_of(&self, from: &[String], path: &[String]) -> Option<&Path> {
        let (first, rest) = path.split_first()?;
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (from.to_vec(), rest),
            "super" => (from.split_last()?.1.to_vec(), rest),
            child if self.modules.contains_key(&joined(from, child)) => (joined(from, child), rest),
            name => {
                // A module that is imported under a name, when the path is one of the code.
                let (_, to) = self.modules[from]
                    .names
                    .iter()
                    .find(|(own, _)| own == name)?;
                let target = self.module_of(from, to)?;
                (target, rest)
            }
        };
        while let Some((next, after)) = rest.split_first() {
            if next == "super" {
                module.pop();
            } else if self.modules.contains_key(&joined(&module, next)) {
                module.push(next.clone());
            } else {
                return self.definer(&module, next, 0);
            }
            rest = after;
        }
        Some(&self.modules.get(&module)?.file)
    }

    /// The module that a path names, if it names one.
    fn module_of(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            "super" => from.split_last()?.1.to_vec(),
            child => joined(from, child),
        };
        for next in rest {
            match next.as_str() {
                "super" => drop(module.pop()),
                next => module.push(next.into()),
            }
        }
        self.modules.contains_key(&module).then_some(module)
    }

    /// The file of the item that `module` calls `name`.
    fn definer(&self, module: &[String], name: &str, depth: u8) -> Option<&Path> {
        let own = self.modules.get(module)?;
        if own.items.contains(name) || depth > 8 {
            return Some(&own.file);
        }
        if let Some((_, to)) = own.names.iter().find(|(own, _)| own == name) {
            let (last, before) = to.split_last()?;
            if let Some(other) = self.module_of(module, to) {
                return Some(&self.modules[&other].file);
            }
            let other = match before {
                [] => return None,
                before => self.module_of(module, before)?,
            };
            return self.definer(&other, last, depth + 1);
        }
        let globs = own
            .globs
            .iter()
            .filter_map(|glob| self.module_of(module, glob));
        let passes_on = |glob: &Vec<String>| self.modules[glob].items.contains(name);
        match globs.into_iter().find(passes_on) {
            Some(glob) => self.definer(&glob, name, depth + 1),
            None => Some(&own.file),
        }
    }
}

impl Module {
    fn new(file: &Path) -> Self {
        Self {
            file: file.into(),
            items: BTreeSet::new(),
            names: Vec::new(),
            globs: Vec::new(),
            paths: BTreeSet::new(),
        }
    }

    /// Notes what a `use` imports, `before` being how its path begins.
    fn import(&mut self, before: Vec<String>, tree: &syn::UseTree) {
        let with = |name: &syn::Ident| joined(&before, &name.to_string());
        match tree {
            syn::UseTree::Path(path) => self.import(with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(before.clone(), tree);
                }
            }
            syn::UseTree::Glob(_) => self.globs.push(before),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned().unwrap_or_default();
                self.names.push((last, before));
            }
            syn::UseTree::Name(name) => {
                self.names.push((name.ident.to_string(), with(&name.ident)))
            }
            syn::UseTree::Rename(rename) => {
                self.names
                    .push((rename.rename.to_string(), with(&rename.ident)));
            }
        }
    }
}

/// Collects the paths of code that could lead to another module.
struct Paths<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            self.0.insert(
                path.segments
                    .iter()
                    .map(|it| it.ident.to_string())
                    .collect(),
            );
        }
        syn::visit::visit_path(self, path);
    }

    /// Who may see an item imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        // In a function.
        let mut module = Module::new(Path::new(""));
        module.import(Vec::new(), &import.tree);
        self.0.extend(module.names.into_iter().map(|(_, to)| to));
        self.0.extend(module.globs);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// What `#[path = "..."]` says.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(syn::MetaNameValue {
                path,
                value:
                    syn::Expr::Lit(syn::ExprLit {
                        lit: syn::Lit::Str(text),
                        ..
                    }),
                ..
            }) if path.is_ident("path") => Some(text.value()),
            _ => None,
        })
}

fn name_of(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_seen_through_passed_on_names_and_paths_in_code() {
        let folder = std::env::temp_dir().join(format!("circles-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A;");
        // a -> b by way of the root that passes B on, b -> a by a path in code.
        write("a.rs", "use crate::b::deep::B; pub struct A(B);");
        write("b/mod.rs", "pub mod deep;");
        write(
            "b/deep.rs",
            "pub struct B; fn f() { let _: Option<crate::A> = None; }",
        );
        // One way only: what tests import is no import.
        write("c.rs", "use crate::d::D; pub struct C(D);");
        write(
            "d.rs",
            "pub struct D; #[cfg(test)] mod tests { use crate::c::C; }",
        );
        let circles = Crate::read(&folder.join("lib.rs")).unwrap().circles();
        assert_eq!(circles.len(), 1, "{circles:?}");
        let names = ["a.rs -> ", "b/deep.rs", "b/deep.rs -> "];
        assert!(
            names.iter().all(|name| circles[0].contains(name)),
            "{circles:?}"
        );
        assert!(!circles[0].contains("c.rs"), "{circles:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}
