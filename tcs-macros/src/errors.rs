//! The mistakes of one item, reported together.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::Error;

/// Collects mistakes, so that all of one item come out at once.
#[derive(Default)]
pub(crate) struct Errors {
    found: Option<Error>,
    left_to_rustc: bool,
}

impl Errors {
    /// Reports `message` at all of `tokens`.
    pub(crate) fn at(&mut self, tokens: &dyn ToTokens, message: impl Display) {
        self.push(error_at(tokens, message));
    }

    /// Reports `message` at `span`.
    pub(crate) fn at_span(&mut self, span: Span, message: impl Display) {
        self.push(error(span, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.found {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    /// Notes a mistake that rustc reports at the function itself: a second error would not help.
    pub(crate) fn leave_to_rustc(&mut self) {
        self.left_to_rustc = true;
    }

    /// Returns whether an implementation can call the function.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_none() && !self.left_to_rustc
    }

    /// Returns the tokens, followed by what is wrong.
    pub(crate) fn behind(self, mut tokens: TokenStream) -> TokenStream {
        if let Some(error) = self.found {
            tokens.extend(error.into_compile_error());
        }
        tokens
    }
}

/// Says `message` at all of `tokens`.
pub(crate) fn error_at(tokens: &dyn ToTokens, message: impl Display) -> Error {
    Error::new_spanned(tokens, &message as &dyn Display)
}

/// Says `message` at `span`.
pub(crate) fn error(span: Span, message: impl Display) -> Error {
    Error::new(span, &message as &dyn Display)
}

/// Returns the candidate that `word` was probably meant to be.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let mut nearest: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = edits(word, candidate);
        // Of several that are as near, the first by name.
        if nearest
            .is_none_or(|(least, name)| distance < least || distance == least && *candidate < name)
        {
            nearest = Some((distance, candidate));
        }
    }
    let (distance, nearest) = nearest?;
    (distance <= 2 && distance < nearest.len() / 2).then_some(nearest)
}

/// Counts the insertions, removals and replacements that make `from` into `to`.
fn edits(from: &str, to: &str) -> usize {
    let mut row = vec![0];
    for (place, _) in to.chars().enumerate() {
        row.push(place + 1);
    }
    for (i, a) in from.chars().enumerate() {
        let mut above_left = i;
        let mut left = i + 1;
        for (j, b) in to.chars().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX - 1);
            let edited = (above_left + usize::from(a != b))
                .min(above + 1)
                .min(left + 1);
            above_left = above;
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            left = edited;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
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
