//! `docs/limits.md` says what the documentation of the settings says, at servers and at clients.

use std::{collections::BTreeSet, fs, path::Path};

use tcs::RejectionKind;

fn read(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(workspace.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the methods of a file that set something with a default, with the text of their documentation.
fn settings(file: &str) -> Vec<(String, String)> {
    let mut doc = String::new();
    let mut settings = Vec::new();
    for line in read(file).lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some((name, _)) = line
            .strip_prefix("pub fn ")
            .and_then(|rest| rest.split_once(['(', '<']))
        {
            // That one is hidden.
            if doc.contains("Default:") && name != "poll_budget" {
                settings.push((name.to_owned(), doc.replace(['[', ']'], "")));
            }
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    settings
}

/// Returns the cells of the rows that begin with `start`.
fn rows(start: &str) -> Vec<Vec<String>> {
    let page = read("docs/limits.md");
    let rows = page.lines().filter(|line| line.starts_with(start));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Returns the texts between asterisks.
fn emphasized(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('*').skip(1).step_by(2)
}

#[test]
fn page_has_a_row_with_the_default_of_each_setting() {
    let settings = settings("tcs/src/server/builder.rs");
    let rows = rows("| `");
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
fn page_has_a_row_with_the_default_of_each_limit_of_clients() {
    for (start, file, others) in [
        ("| connection | ", "client/options.rs", ["tls"].as_slice()),
        (
            "| channel | ",
            "client/channel/options.rs",
            ["connect_options", "on_connect"].as_slice(),
        ),
    ] {
        let mut settings = settings(&format!("tcs/src/{file}"));
        settings.retain(|(name, _)| !others.contains(&name.as_str()));
        let rows = rows(start);
        assert_eq!(rows.len(), settings.len(), "{file}");
        for (name, doc) in settings {
            let row = rows.iter().find(|row| row[2].contains(&name));
            let default = row.unwrap_or_else(|| panic!("no row of {name}"))[3].as_str();
            let first = default.split(" to ").next().unwrap_or(default);
            // That one is a row in words, and its setting a switch.
            assert!(
                name == "retries" || doc.contains(&format!("Default: {first}")),
                "{name}: {first}"
            );
        }
    }
}

#[test]
fn peers_are_told_kinds_of_rejections() {
    let kinds: BTreeSet<String> = (0..0x80)
        .filter_map(RejectionKind::from_code)
        .map(|kind| kind.to_string())
        .collect();
    let rows = rows("| `");
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| emphasized(&row[4])).collect();
    assert!(told.len() > 5, "{told:?}");
    for kind in told {
        assert!(kinds.contains(kind), "{kind}");
    }
}
