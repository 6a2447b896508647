//! Tables, whose cells can be read at a glance.

use std::{fs, path::Path};

use super::{FOLDERS, files, root};

/// The words that a cell of a table may have; what is longer is prose.
const MAX_WORDS: usize = 25;

/// Fails if a cell of a table in these lines is too long. Returns the number of cells.
fn check_cells<'a>(page: &Path, lines: impl Iterator<Item = &'a str>) -> usize {
    let rows = lines.filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let mut found = 0;
    for cell in rows.flat_map(|row| row.split('|')) {
        let words = cell.split_whitespace().count();
        assert!(
            words <= MAX_WORDS,
            "{}: {words} words in:{cell}",
            page.display()
        );
        found += 1;
    }
    found
}

#[test]
fn cells_of_tables_are_short() {
    let mut found = 0;
    for page in FOLDERS
        .iter()
        .chain(&["tcs/src/attributes"])
        .flat_map(|folder| files(folder, "md"))
    {
        let text = fs::read_to_string(&page).expect("a page");
        found += check_cells(&page, text.lines());
    }
    let mut folders = vec![root().join("tcs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).expect("a file");
                let lines = text.lines().map(str::trim_start);
                let docs = lines
                    .filter_map(|line| line.strip_prefix("//! ").or(line.strip_prefix("/// ")));
                found += check_cells(&path, docs);
            }
        }
    }
    assert!(found >= 1_000, "only {found}");
}
