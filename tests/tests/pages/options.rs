//! The words that editors complete are those that the attributes know and their documentation explains.

use std::fs;

use super::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file")
}

/// Returns the text between the first `start` and the next `end`.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect("the start");
    rest.split_once(end).expect("the end").0
}

/// Returns the words of a list in `options.rs`, each of which has its documentation.
fn completed(list: &str) -> Vec<String> {
    let text = read("tcs/src/macro_support/options.rs");
    let lines: Vec<_> = between(&text, &format!("    {list} {{\n"), "    }\n")
        .lines()
        .map(str::trim)
        .collect();
    let is_docs = |line: &str| line.starts_with("///");
    let mut words = Vec::new();
    for pair in lines.windows(2) {
        if let Some(word) = pair[1].strip_suffix(',').filter(|_| !is_docs(pair[1])) {
            assert!(is_docs(pair[0]), "{word} has no documentation");
            words.push(word.to_owned());
        }
    }
    words
}

/// Returns the options that the parser knows, without `crate`, which no item can be called.
fn parsed(table: &str) -> Vec<String> {
    let text = read("tcs-macros/src/options/spec.rs");
    let rows = between(&text, &format!("const {table}: "), "};").lines();
    rows.filter_map(|row| Some(row.split('"').nth(1)?.to_owned()))
        .filter(|word| word != "crate")
        .collect()
}

/// Returns the options in the table of a page, each once, in their order.
fn documented(page: &str) -> Vec<String> {
    let text = read(page);
    let mut words: Vec<String> = Vec::new();
    for row in between(&text, "| option | meaning |", "\n\n").lines() {
        let cell = row.trim_start_matches("| ").split(" |").next();
        for code in cell.expect("a cell").split('`').skip(1).step_by(2) {
            let word = code.split(' ').next().expect("a word").to_owned();
            let is_option = word.starts_with(char::is_lowercase) && word != "crate";
            if is_option && !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words
}

#[test]
fn options_are_completed() {
    for (list, table) in [("server_protocol", "SERVER"), ("client_protocol", "CLIENT")] {
        let words = completed(list);
        assert!(words.len() >= 9, "{list} has only {words:?}");
        assert_eq!(words, parsed(table), "{list}");
        let mut documented = documented(&format!("tcs/src/attributes/{list}.md"));
        let mut sorted = words;
        documented.sort();
        sorted.sort();
        assert_eq!(sorted, documented, "{list}");
    }
}

#[test]
fn helper_attributes_are_completed() {
    let text = read("tcs-macros/src/model/parameter.rs");
    let rows = between(&text, "const HELPERS: ", "];").lines();
    let known: Vec<_> = rows.filter_map(|row| row.split('"').nth(1)).collect();
    assert_eq!(known.len(), 5);
    assert_eq!(completed("parameter"), known);
    let page = read("tcs/src/attributes/server_protocol.md");
    for word in known {
        assert!(page.contains(&format!("`#[{word}]")), "{word}");
    }
}
