//! Text of peers with different encodings.

use std::{borrow::Cow, fmt, ops::Deref};

use super::{Decode, DecodeError, Encode, EncodeError, Frame, Plain, Writer};

/// A text that may have been sent as UTF-8 or as Latin-1 (ISO 8859-1), as in IRC, FTP or the logs of old devices.
///
/// UTF-8 is taken as it is, without a copy. Each byte that is not a part of a UTF-8 character becomes the Latin-1
/// character of this byte. So no message is rejected for its encoding, no byte is lost, and a character that was cut
/// harms no other. Latin-1 that happens to be valid UTF-8 is read as UTF-8: the two letters `Ã¤` become `ä`.
///
/// A `Lossy` is sent as UTF-8, so a text that was not UTF-8 has more bytes then. To send the same bytes, take `&[u8]`.
///
/// # Examples
///
/// ```
/// use tcs::{framing::CrlfText, protocol::Lossy, server_protocol};
///
/// #[server_protocol(framing = CrlfText)]
/// fn shout(line: Lossy<'_>) -> String {
///     line.to_uppercase()
/// }
///
/// assert_eq!(shout(Lossy::from_bytes(b"gr\xfc\xdf")), "GRÜSS");
/// assert_eq!(shout(Lossy::from_bytes("grüß".as_bytes())), "GRÜSS");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lossy<'a>(Cow<'a, str>);

impl<'a> Lossy<'a> {
    /// Reads a text. Never fails.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self(Cow::Borrowed(text)),
            Err(_) => Self(Cow::Owned(repaired(bytes))),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text, which is borrowed if it was UTF-8.
    pub fn into_cow(self) -> Cow<'a, str> {
        self.0
    }
}

/// Replaces each byte that is not UTF-8 with a character of two bytes.
#[cold]
fn repaired(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    text
}

impl<'a> Decode<'a, Plain> for Lossy<'a> {
    #[inline]
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(frame.bytes()))
    }
}

impl Encode<Plain> for Lossy<'_> {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Encode::<Plain>::encode(&*self.0, out)
    }
}

impl Deref for Lossy<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Lossy<'a> {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Lossy<'_> {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Lossy<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::test_support::{decode, encode};

    #[test]
    fn utf8_is_not_copied() {
        for text in ["", "a", "grüß", "\u{10ffff}"] {
            let lossy = Lossy::from_bytes(text.as_bytes());
            assert_eq!(lossy, text);
            assert!(matches!(lossy.into_cow(), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_latin_1() {
        for (bytes, text) in [
            (&b"gr\xfc\xdf"[..], "grüß"),
            (b"\xff", "ÿ"),
            (b"\x80", "\u{80}"),
            // A character that was cut, before and after whole ones.
            (b"\xc3\xa4\xc3", "äÃ"),
            (b"\xa4\xc3\xa4", "¤ä"),
            (b"\xe2\x82a\xe2\x82\xac", "â\u{82}a€"),
            // A surrogate, and a number that is too large.
            (b"\xed\xa0\x80", "í\u{a0}\u{80}"),
            (b"\xf4\x90\x80\x80", "ô\u{90}\u{80}\u{80}"),
        ] {
            assert_eq!(
                decode::<Plain, Lossy<'_>>(bytes),
                Ok(Lossy::from(text)),
                "{bytes:?}"
            );
            assert_eq!(
                encode::<Plain, _>(Lossy::from_bytes(bytes)),
                text.as_bytes()
            );
        }
    }

    proptest! {
        #[test]
        fn latin_1_between_ascii_is_read_as_such(bytes: Vec<u8>) {
            // A character of UTF-8 has two bytes in a row that are not ASCII.
            let bytes: Vec<u8> = bytes.iter().flat_map(|&byte| [byte, b' ']).collect();
            let text: String = bytes.iter().copied().map(char::from).collect();
            prop_assert_eq!(Lossy::from_bytes(&bytes), &*text);
        }
    }
}
