//! Questions about words, and how they are spelt.

use proc_macro2::Ident;

/// Returns `true` if `camel`, which is the identifier `snake` in `UpperCamelCase`, can be the name of a type.
pub(crate) fn is_type_name(snake: &str, camel: &str) -> bool {
    // The character after `_` may not be able to begin an identifier, such as a digit of any script. Parsing the name
    // is not possible, because rustc reports a text that is not a token even if the macro ignores the error.
    let is_start = camel.starts_with(char::is_uppercase) || !snake.starts_with('_');
    is_start && camel != "Self"
}

/// Returns `true` if a word is one of the names.
pub(crate) fn is_one_of(word: &Ident, names: &[&str]) -> bool {
    names.contains(&word.to_string().as_str())
}

/// Returns `name_in_words` as `NameInWords`.
pub(crate) fn upper_camel(snake: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let capital = letters.next().into_iter().flat_map(char::to_uppercase);
        capital.chain(letters).collect::<String>()
    };
    snake.split('_').map(word).collect()
}

/// Returns the candidate that `word` probably means. If several are equally near, returns the first by name.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    if let Some(same) = candidates.iter().find(|candidate| **candidate == word) {
        return Some(same);
    }
    let candidates = candidates.iter();
    let (distance, nearest) = candidates.map(|&meant| (edits(word, meant), meant)).min()?;
    // Two changes make any short word into any other, so most of the letters must stay.
    (distance <= 2 && distance < nearest.len() / 2).then_some(nearest)
}

/// Counts the insertions, removals and replacements that make `from` into `to`.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (number, letter) in from.chars().enumerate() {
        let mut next = vec![number + 1];
        for (pair, other) in row.windows(2).zip(to.chars()) {
            let replaced = pair[0] + usize::from(letter != other);
            let changed = pair[1].min(next[next.len() - 1]) + 1;
            next.push(replaced.min(changed));
        }
        row = next;
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_with_capitals() {
        for (snake, camel) in [
            ("greet", "Greet"),
            ("print_reply", "PrintReply"),
            ("_a__b_", "AB"),
            ("utf8_text", "Utf8Text"),
            ("éclair", "Éclair"),
            ("___", ""),
        ] {
            assert_eq!(upper_camel(snake), camel);
        }
    }

    #[test]
    fn type_names_are_identifiers() {
        for (snake, is_name) in [
            ("greet", true),
            ("_greet", true),
            ("_élan", true),
            ("挨拶", true),
            ("self", false),
            ("___", false),
            ("_1", false),
            // A digit, a dot and a vowel sign, none of which can be first.
            ("_٣", false),
            ("_·a", false),
            ("_ा", false),
        ] {
            let camel = upper_camel(snake);
            assert_eq!(is_type_name(snake, &camel), is_name, "{snake}");
            assert!(
                !is_name || syn::parse_str::<Ident>(&camel).is_ok(),
                "{camel}"
            );
        }
    }

    #[test]
    fn nearest_is_near_enough_to_be_meant() {
        let options = ["framing", "format", "crate"];
        for (word, meant) in [
            ("framming", Some("framing")),
            ("fromat", Some("format")),
            ("crates", Some("crate")),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &options), meant, "{word}");
        }
    }

    #[test]
    fn edits_are_counted_both_ways() {
        for (one, other, count) in [
            ("", "abc", 3),
            ("sate", "state", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((edits(one, other), edits(other, one)), (count, count));
        }
    }
}
