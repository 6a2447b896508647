//! `docs/limits.md` says what the documentation of the settings says.

use std::{collections::BTreeSet, fs, path::Path};

use tcs::RejectionKind;

fn read(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(workspace.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the settings that limit something, with the text of their documentation.
fn settings() -> Vec<(String, String)> {
    let mut doc = String::new();
    let mut settings = Vec::new();
    for line in read("tcs/src/server/builder.rs").lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some((name, _)) = line
            .strip_prefix("pub fn ")
            .and_then(|rest| rest.split_once(['(', '<']))
        {
            let is_limit = name.starts_with("max_") || name.ends_with("_timeout");
            let others = [
                "at_capacity",
                "lame_duck",
                "linger",
                "memory_budget",
                "on_accept",
            ];
            if is_limit || others.contains(&name) {
                settings.push((name.to_owned(), doc.replace(['[', ']'], "")));
            }
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    settings
}

/// Returns the cells of the rows that begin with a setting.
fn rows() -> Vec<Vec<String>> {
    let page = read("docs/limits.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Returns the texts between asterisks.
fn emphasized(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('*').skip(1).step_by(2)
}

#[test]
fn page_has_a_row_with_the_default_of_each_limit() {
    let (settings, rows) = (settings(), rows());
    let documented: BTreeSet<String> = settings
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(listed, documented);
    for (name, doc) in &settings {
        let row = rows.iter().find(|row| row[1] == format!("`{name}`"));
        let default = row.expect("it is listed")[2].as_str();
        let first = default.split([';']).next().unwrap_or(default);
        let first = first.split(", ").next().unwrap_or(first);
        assert!(
            doc.contains(&format!("Default: {first}")),
            "{name}: {first}"
        );
    }
}

#[test]
fn peers_are_told_kinds_of_rejections() {
    let kinds: BTreeSet<String> = (0..0x80)
        .filter_map(RejectionKind::from_code)
        .map(|kind| kind.to_string())
        .collect();
    let rows = rows();
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| emphasized(&row[4])).collect();
    assert!(told.len() > 5, "{told:?}");
    for kind in told {
        assert!(kinds.contains(kind), "{kind}");
    }
}
