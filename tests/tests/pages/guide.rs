//! The guide: `docs/guide`.

use std::fs;

use super::{files, included, links, root};

const SUMMARY: &str = include_str!("../../../docs/guide/src/SUMMARY.md");
const TESTED: &str = include_str!("../../support/guide.rs");

#[test]
fn summary_has_each_chapter() {
    let mut listed: Vec<_> = links(SUMMARY).map(str::to_owned).collect();
    listed.push("SUMMARY.md".to_owned());
    listed.sort();
    let there = files("docs/guide/src", "md");
    let there = there.iter().map(|path| path.file_name().expect("a name"));
    let mut there: Vec<_> = there
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert_eq!(listed, there);
}

/// Each block of Rust is a documentation test: of this package if the chapter is the guide's own, and where the page is
/// if it is another page.
#[test]
fn code_of_each_chapter_is_compiled() {
    for path in files("docs/guide/src", "md") {
        let text = fs::read_to_string(&path).expect("a chapter");
        if included(&text).is_some() {
            continue;
        }
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let blocks = text.lines().filter(|line| line.starts_with("```rust"));
        let is_tested = TESTED.contains(&format!(": \"{stem}\","));
        assert_eq!(blocks.clone().count() > 0, is_tested, "{stem}");
        let ignored = blocks.filter(|line| line.contains("ignore")).count();
        // The features of a package, which a documentation test has not.
        assert_eq!(ignored, usize::from(stem == "operations"), "{stem}");
    }
}

#[test]
fn pages_that_are_chapters_link_to_chapters() {
    for path in files("docs/guide/src", "md") {
        let text = fs::read_to_string(&path).expect("a chapter");
        if included(&text).is_some() {
            for link in links(&super::read(&path)) {
                super::check_link(&path, link);
            }
        }
    }
}

#[test]
fn chapters_can_be_read_in_a_few_minutes() {
    for path in files("docs/guide/src", "md") {
        let lines = fs::read_to_string(&path)
            .expect("a chapter")
            .lines()
            .count();
        assert!(lines <= 200, "{}: {lines} lines", path.display());
    }
    assert!(root().join("docs/guide/book.toml").exists());
}
