//! No file lies around that nothing compiles or runs.
//!
//! The targets of this workspace name their files one by one, so a new test that nobody declares
//! would pass for ever.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The packages; each has its targets in `Cargo.toml`, with paths relative to it.
const PACKAGES: [&str; 6] = [
    "tcs",
    "tcs-macros",
    "examples",
    "examples/bank",
    "examples/codec",
    "tests",
];

/// Where a file must be compiled.
const FOLDERS: [&str; 4] = ["tcs/src", "tcs-macros/src", "examples", "tests"];

/// What `trybuild` compiles, each file for itself.
const UI: &str = "tests/ui";

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_rust_file_is_compiled() {
    let compiled = compiled(&root());
    let forgotten: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .filter(|file| !file.starts_with(root().join(UI)) && !compiled.contains(file))
        .collect();
    assert!(
        forgotten.is_empty(),
        "no target and no `mod` names {forgotten:#?}"
    );
}

#[test]
fn each_member_of_the_workspace_is_guarded() {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, members) = manifest.split_once("members = [").expect("members");
    let (members, _) = members.split_once(']').expect("their end");
    let members: Vec<_> = quoted(members).collect();
    assert_eq!(members, PACKAGES);
}

#[test]
fn each_python_script_is_run() {
    let all = |extension| {
        let files = files(&root().join("tests"), extension);
        files.iter().map(|file| read(file)).collect::<String>()
    };
    let (tests, scripts) = (all("rs"), all("py"));
    for script in files(&root().join("tests"), "py") {
        let name = script.file_name().expect("a name").to_string_lossy();
        let module = name.trim_end_matches(".py");
        let runs = tests.contains(&format!("\"{name}\""));
        // The first of a package is imported with each of the others.
        let imports = module == "__init__"
            || [
                format!("from wire.{module} import "),
                format!("from .{module} import "),
                format!("from . import {module}\n"),
            ]
            .iter()
            .any(|import| scripts.contains(import));
        assert!(runs || imports, "nothing runs {name}");
    }
}

/// All files below `folder` with an extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// All files that the targets consist of.
fn compiled(root: &Path) -> BTreeSet<PathBuf> {
    let mut compiled = BTreeSet::new();
    for package in PACKAGES {
        let folder = root.join(package);
        let manifest = read(&folder.join("Cargo.toml"));
        // A target's path stands on a line of its own, a dependency's does not.
        let paths = manifest
            .lines()
            .filter(|line| line.starts_with("path = "))
            .flat_map(quoted)
            .chain(["src/lib.rs", "src/main.rs"]);
        for path in paths {
            let path = normal(&folder.join(path));
            if path.exists() {
                let modules = path.parent().expect("a folder").to_path_buf();
                follow(&path, &modules, &mut compiled);
            }
        }
    }
    compiled
}

/// Adds `file`, and the modules it names, which are found in the folder `modules`.
fn follow(file: &Path, modules: &Path, compiled: &mut BTreeSet<PathBuf>) {
    if !compiled.insert(file.to_path_buf()) {
        return;
    }
    let mut at = None;
    for line in read(file).lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = ") {
            at = quoted(path).next().map(str::to_owned);
        } else if let Some(name) = module(line) {
            let (flat, folder) = (modules.join(name).with_extension("rs"), modules.join(name));
            let own = match at.take() {
                Some(path) => normal(&file.parent().expect("a folder").join(path)),
                None if flat.exists() => flat,
                None => folder.join("mod.rs"),
            };
            follow(&own, &folder, compiled);
        }
    }
}

/// The name in `mod name;`, whatever its visibility.
fn module(line: &str) -> Option<&str> {
    let (before, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

/// What stands between quotation marks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// A path without `..`, so that equal files have equal paths.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component.as_os_str() == ".." {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}
