//! What was probably meant by a word that is not an option.

use syn::parse::ParseStream;

use super::options::Side;
use crate::syntax::{at_comma, upper_camel};

/// What is set by methods of servers and clients.
const SETTINGS: &str = "\
    address connect_timeout drain_timeout frame_timeout half_close_timeout host idle_timeout linger \
    max_blocking max_connections max_frame_len on_listening port reply_timeout request_timeout \
    write_timeout";

/// The types of the library that are options by a single word.
const FORMATS: &str = "Json MessagePack Plain Postcard Protobuf";
const FRAMINGS: &str = "CrlfLines LengthPrefixed Lines Netstrings Raw UntilEof";

/// Says what to write instead of a word that is neither an option nor the name, before `rest`.
pub(super) fn unknown(side: Side, word: &str, rest: ParseStream<'_>) -> String {
    let names = side.options().iter().map(|option| option.name);
    let names: Vec<_> = names.collect();
    let is_alone = at_comma(rest);
    if is_alone && let Some((option, ty)) = library_type(word) {
        format!("`{ty}` is a {option}: write `{option} = {ty}`")
    } else if is_alone && word.starts_with(char::is_uppercase) {
        let name = side.attribute();
        format!("the name comes first: write `{name}({word}, …)`")
    } else if SETTINGS.split(' ').any(|setting| setting == word) {
        format!("`{word}` is a setting: call `.{word}(…)` on the server or the client")
    } else if let Some(meant) = nearest(word, &names) {
        format!("did you mean `{meant}`?")
    } else {
        format!("options: `{}`", names.join(", "))
    }
}

/// Returns the type of the library that a word means, also in lower case, and its option.
pub(super) fn library_type(word: &str) -> Option<(&'static str, &'static str)> {
    let camel = upper_camel(word);
    let find = |types: &'static str| types.split(' ').find(|ty| ty.eq_ignore_ascii_case(&camel));
    let format = find(FORMATS).map(|ty| ("format", ty));
    format.or_else(|| find(FRAMINGS).map(|ty| ("framing", ty)))
}

/// Returns the candidate that `word` was probably meant to be: of several that are as near, the first
/// by name.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let candidates = candidates.iter();
    let (distance, nearest) = candidates.map(|&meant| (edits(word, meant), meant)).min()?;
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
