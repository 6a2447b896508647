//! The lists of the library's names in the macros, which cannot use the library, are those of the library.

use std::{fs, path::Path};

fn source(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(workspace.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns what is between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before} is missing"));
    let (found, _) = rest
        .split_once(after)
        .unwrap_or_else(|| panic!("{after} is missing"));
    found
}

/// Returns the words of a constant of the macros, which separates them by spaces or commas.
fn listed(file: &str, constant: &str) -> Vec<String> {
    let source = source(&format!("tcs-macros/src/{file}"));
    let value = between(&source, &format!("const {constant}: "), ";");
    let (_, value) = value.split_once('=').expect("a value");
    let words = value.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn settings_are_those_of_the_library() {
    let files = [
        "server/builder.rs",
        "client/options.rs",
        "client/one_shot.rs",
    ];
    let sources = files
        .map(|file| source(&format!("tcs/src/{file}")))
        .concat();
    let lines = sources
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub fn "));
    let mut found: Vec<_> = lines
        .filter_map(|line| line.split_once("(mut self")?.0.split('<').next())
        // Hidden from users.
        .filter(|name| *name != "poll_budget")
        .collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(listed("options/guesses.rs", "SETTINGS"), found);
}

#[test]
fn types_of_one_word_are_those_of_the_library() {
    for (folder, constant, before, after) in [
        // A format is an enum without a value.
        ("format", "FORMATS", "pub enum ", " {}"),
        ("framing", "FRAMINGS", "impl Framing for ", " {"),
    ] {
        let modules = source(&format!("tcs/src/{folder}/mod.rs"));
        let modules = modules.lines().filter_map(|line| {
            let (_, name) = line.strip_suffix(';')?.split_once("mod ")?;
            Some(name)
        });
        let sources = modules.map(|module| {
            let path = format!("tcs/src/{folder}/{module}");
            let is_folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(&path)
                .is_dir();
            source(&if is_folder {
                path + "/mod.rs"
            } else {
                path + ".rs"
            })
        });
        let sources = sources.collect::<String>();
        let mut types: Vec<_> = sources
            .lines()
            .filter_map(|line| line.strip_prefix(before)?.strip_suffix(after))
            .collect();
        if folder == "framing" {
            // Their parameters have defaults.
            types.extend(["CrlfText", "Varint"]);
        }
        types.sort_unstable();
        assert_eq!(listed("options/guesses.rs", constant), types, "{folder}");
    }
}

#[test]
fn client_methods_are_those_of_the_library() {
    let source = source("tcs/src/macro_support/macros.rs");
    let client = between(&source, "macro_rules! __client", "macro_rules! __message");
    assert!(
        client.contains("#[derive(Clone, Debug)]"),
        "the derived methods"
    );
    // The operations are `fn $name`.
    let functions = client.split("fn ").skip(1);
    let functions = functions.filter(|function| !function.starts_with('$'));
    let names = functions.filter_map(|function| function.split(['(', '<']).next());
    let mut names: Vec<_> = names.chain(["clone"]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(listed("model/operations.rs", "CLIENT_METHODS"), names);
}
