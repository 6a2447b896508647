//! What was probably meant by a word that is not an option.

use syn::parse::ParseStream;

use super::options::Side;
use crate::syntax::{at_comma, nearest, upper_camel};

/// What is set by methods of servers and clients.
const SETTINGS: &str = "\
    address connect_timeout drain_timeout frame_timeout half_close_timeout host idle_timeout linger \
    max_blocking max_connections max_frame_len max_in_flight on_listening options poll_budget port \
    reply_timeout request_timeout write_timeout";

/// The types of the library that are options by a single word.
const FORMATS: &str = "Json MessagePack Plain Postcard Protobuf";
const FRAMINGS: &str = "CrlfLines LengthPrefixed Lines Netstrings Raw UntilEof";

/// Says what to write instead of a word that is neither an option nor the name, before `rest`.
pub(super) fn unknown(side: Side, word: &str, rest: ParseStream<'_>) -> String {
    let options: Vec<_> = side.options().iter().map(|option| option.text).collect();
    let is_alone = at_comma(rest);
    if is_alone && let Some((option, ty)) = library_type(word) {
        format!("`{ty}` is a {option}: write `{option} = {ty}`")
    } else if is_alone && word.starts_with(char::is_uppercase) {
        let name = side.attribute();
        format!("the name comes first: write `{name}({word}, …)`")
    } else if SETTINGS.split(' ').any(|setting| setting == word) {
        format!("`{word}` is a setting: call `.{word}(…)` on the server or the client")
    } else if let Some(meant) = nearest(word, &options) {
        format!("did you mean `{meant}`?")
    } else {
        let known = options.join("`, `");
        // On a line of its own: the list alone is as long as a message may be.
        format!("unknown option `{word}`: write one of\n`{known}`")
    }
}

/// Returns the type of the library that a word means, also in lower case, and its option.
pub(super) fn library_type(word: &str) -> Option<(&'static str, &'static str)> {
    let camel = upper_camel(word);
    let find = |types: &'static str| types.split(' ').find(|ty| ty.eq_ignore_ascii_case(&camel));
    let format = find(FORMATS).map(|ty| ("format", ty));
    format.or_else(|| find(FRAMINGS).map(|ty| ("framing", ty)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Returns the words after `before` and up to `after` in the lines of a file of the library.
    fn words(file: &str, before: &str, after: &str) -> Vec<String> {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tcs/src");
        let text =
            fs::read_to_string(library.join(file)).expect("the library is beside this crate");
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(before));
        let found = lines.filter_map(|line| Some(line.split_once(after)?.0.to_owned()));
        found.collect()
    }

    #[test]
    fn settings_are_those_of_the_library() {
        let files = [
            "server/builder.rs",
            "client/options.rs",
            "client/exchange.rs",
        ];
        let mut found = files
            .map(|file| words(file, "pub fn ", "(mut self"))
            .concat();
        found.sort();
        found.dedup();
        assert_eq!(SETTINGS.split(' ').collect::<Vec<_>>(), found);
    }

    #[test]
    fn types_of_one_word_are_in_the_library() {
        for (folder, types) in [("format", FORMATS), ("framing", FRAMINGS)] {
            let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tcs/src");
            let exported =
                fs::read_to_string(library.join(folder).join("mod.rs")).expect("a module");
            for ty in types.split(' ') {
                let mut words = exported.split(|letter: char| !letter.is_alphanumeric());
                assert!(words.any(|word| word == ty), "{folder}: {ty}");
            }
        }
    }
}
