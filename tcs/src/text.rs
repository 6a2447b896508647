//! Text as it is shown: that of an error, and bytes of a peer.

use std::fmt::{self, Write as _};

/// The text of an error, which may quote a peer. `Display` escapes control characters, and shows the beginning of a long
/// one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(Box<str>);

impl Text {
    /// Creates the text that `source` displays. `source` may be a user's type whose `Display` fails, where `to_string`
    /// would panic.
    pub(crate) fn new(source: impl fmt::Display) -> Self {
        let mut text = String::new();
        if write!(text, "{source}").is_err() {
            text = String::from(DISPLAY_FAILED);
        }
        Self(text.into())
    }

    /// Returns the text with its control characters.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }
}

/// The text of an error that does not display one.
pub(crate) const DISPLAY_FAILED: &str = "the `Display` of the error returned an error";

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::up_to(self.0.as_bytes(), MAX_SHOWN).fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much of a text a log shows: a few screens.
pub(crate) const MAX_SHOWN: usize = 4_096;

/// Shows bytes of a peer. Escapes control characters, and bytes that are not UTF-8.
pub(crate) struct Escaped<'a> {
    bytes: &'a [u8],
    max_len: usize,
}

impl<'a> Escaped<'a> {
    /// Shows all of `bytes`.
    pub(crate) const fn all(bytes: &'a [u8]) -> Self {
        Self::up_to(bytes, usize::MAX)
    }

    /// Shows the first `max_len` of `bytes`.
    pub(crate) const fn up_to(bytes: &'a [u8], max_len: usize) -> Self {
        Self { bytes, max_len }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes.get(..self.max_len).unwrap_or(self.bytes);
        let is_cut = shown.len() < self.bytes.len();
        let mut chunks = shown.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for c in chunk.valid().chars() {
                // Separators of lines and bidirectional controls change what a terminal shows, as
                // controls do.
                if c.is_control()
                    || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            // The cut may have split the last character.
            if !is_cut || chunks.peek().is_some() {
                write!(f, "{}", chunk.invalid().escape_ascii())?;
            }
        }
        if is_cut {
            f.write_str("…")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf_8_are_escaped() {
        assert_eq!(Escaped::all(b"ab\xff\r").to_string(), "ab\\xff\\r");
        assert_eq!(Escaped::up_to(b"abcdef", 3).to_string(), "abc…");
        assert_eq!(Escaped::up_to(b"abc", 3).to_string(), "abc");
    }

    #[test]
    fn text_that_is_cut_within_a_character_shows_nothing_of_it() {
        for (bytes, max_len, shown) in [
            ("aéb".as_bytes(), 2, "a…"),
            ("aéb".as_bytes(), 3, "aé…"),
            ("a\u{1f980}b".as_bytes(), 4, "a…"),
            (b"a\xc3", 2, "a\\xc3"),
            (b"a\xc3b", 3, "a\\xc3b"),
        ] {
            let cut = Escaped::up_to(bytes, max_len).to_string();
            assert_eq!(cut, shown, "{bytes:?}");
        }
    }

    #[test]
    fn characters_that_reorder_a_line_are_escaped() {
        // The property Bidi_Control of Unicode, and the separators of lines and paragraphs.
        let ranges = [
            0x61c..=0x61c,
            0x200e..=0x200f,
            0x2028..=0x202e,
            0x2066..=0x2069,
        ];
        for code in 0xa0..=0x2_ffff {
            let Some(c) = char::from_u32(code) else {
                continue;
            };
            let shown = Escaped::all(c.to_string().as_bytes()).to_string();
            let is_escaped = ranges.iter().any(|range| range.contains(&code));
            assert_eq!(shown != c.to_string(), is_escaped, "{code:#x}");
        }
    }
}
