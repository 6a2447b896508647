//! The pages that people read: what they link to is there, and the guide is whole.

mod guide;
mod links;
mod options;
mod pictures;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folders with pages.
const FOLDERS: &[&str] = &[
    "",
    "docs",
    "docs/decisions",
    "docs/guide/src",
    "benches",
    "examples",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the files of a folder of the repository with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    files.sort();
    files
}

/// Returns the text of a page. A page of the guide can be another page.
fn read(page: &Path) -> String {
    let text =
        fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    match included(&text) {
        Some(other) => read(&page.parent().expect("a folder").join(other)),
        None => text,
    }
}

/// Returns the name of the page that another one is.
fn included(text: &str) -> Option<&str> {
    text.strip_prefix("{{#include ")?
        .trim_end()
        .strip_suffix("}}")
}

/// Returns what a page links to, without other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1);
    links
        .map(|rest| rest.split(')').next().expect("its end"))
        .filter(|link| !link.starts_with("http"))
}

/// Returns the anchor that GitHub and mdBook give to a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.replace(' ', "-");
    kept.chars()
        .filter(|it| it.is_alphanumeric() || "-_".contains(*it))
        .collect()
}

/// Fails if the target of a link on the page at `place` is not there.
fn check_link(place: &Path, link: &str) {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => place.to_owned(),
        file => place.parent().expect("a folder").join(file),
    };
    assert!(target.exists(), "{}: {link}", place.display());
    if !heading.is_empty() {
        let target = read(&target);
        let mut headings = target.lines().filter(|line| line.starts_with('#'));
        assert!(
            headings.any(|line| anchor(line) == heading),
            "{}: {link}",
            place.display()
        );
    }
}
