//! Questions about words, and how they are spelt.

use proc_macro2::Ident;

/// Returns whether a word in `UpperCamelCase` can be a type's name.
pub(crate) fn is_type_name(camel: &str) -> bool {
    !camel.is_empty()
        && camel != "Self"
        && !camel.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Returns whether a word is one of the names.
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
}
