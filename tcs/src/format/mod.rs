//! How a message becomes bytes, and bytes a message.

use std::{any::Any, fmt};

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
mod guard;
#[cfg(feature = "codec")]
mod items;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "messagepack")]
mod messagepack;
mod plain;
#[cfg(feature = "postcard")]
mod postcard;
#[cfg(feature = "protobuf")]
mod protobuf;
mod response;
#[cfg(all(test, feature = "json", feature = "messagepack", feature = "postcard"))]
mod samples;
mod writer;

#[cfg(feature = "codec")]
pub use items::{Carry, Item};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "messagepack")]
pub use messagepack::MessagePack;
pub use plain::{Plain, parse_text};
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
#[cfg(feature = "protobuf")]
pub use protobuf::{ProstMessage, Protobuf};
pub use response::Response;
pub(crate) use writer::Outcome;
pub use writer::Writer;

use crate::{Framing, rejection::Escaped};

/// A message that can be sent in a format.
///
/// Implement it for a type of your own to send it, or, for one with `Display`, declare it with
/// [`plain!`](crate::plain). Types with serde's `Serialize`, and messages of `prost`, have it for the
/// formats that the [features](crate#features) bring. A format of your own is a type of your own;
/// messages of other crates then need a wrapper (`Cbor<T>`), as Rust allows neither a blanket
/// implementation nor one for foreign types.
///
/// A value may be a message in several formats, so name the one that is meant when you call
/// [`encode`](Self::encode) yourself: `Encode::<Plain>::encode(text, out)`.
///
/// # Examples
///
/// ```
/// use tcs::{Encode, EncodeError, Plain, Writer};
///
/// struct Rgb(u8, u8, u8);
///
/// impl Encode<Plain> for Rgb {
///     fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
///         out.put(&[self.0, self.1, self.2]);
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message in the format `{Format}`",
    label = "no `Encode<{Format}>`",
    note = "`Plain` sends text, bytes, numbers, `bool`, `char`, addresses, `()`, and `Result` or `Response` of them",
    note = "with serde: derive `Serialize`, add `format = Json` to the attribute, and the feature `json` to `tcs` (or `Postcard`, `MessagePack`; `Protobuf` is for `prost::Message`)",
    note = "for a type with `Display` and `FromStr` write `tcs::plain!(Type);`, for others implement `Encode`",
    note = "a `Codec<C>` sends what `C` has an `Encoder` for, if it is a `tcs::Item`; `tcs::Carry` makes one of any type"
)]
pub trait Encode<Format> {
    /// Writes the message, or says that there is none, into the connection's buffer.
    ///
    /// # Errors
    ///
    /// When the value has no form in this format. The peer is then told that the request failed,
    /// and the error's text is logged.
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError>;
}

/// A message that can be read in a format, for as long as the frame lives.
///
/// # Examples
///
/// ```
/// use tcs::{Decode, DecodeError, Frame, Plain};
///
/// struct Rgb(u8, u8, u8);
///
/// impl Decode<'_, Plain> for Rgb {
///     fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
///         match *frame.bytes() {
///             [r, g, b] => Ok(Self(r, g, b)),
///             _ => Err(DecodeError::new("a colour has three bytes")),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a message in the format `{Format}`",
    label = "no `Decode<{Format}>`",
    note = "`Plain` reads text, bytes, numbers, `bool`, `char`, addresses and `()`",
    note = "with serde: derive `Deserialize`, add `format = Json` to the attribute, and the feature `json` to `tcs` (or `Postcard`, `MessagePack`; `Protobuf` is for `prost::Message`)",
    note = "the request is the first parameter without a helper attribute; `&Peer` and the like follow it",
    note = "for a type with `Display` and `FromStr` write `tcs::plain!(Type);`, for others implement `Decode`",
    note = "a `Codec<C>` reads what `C` decodes, as a value that is owned, if that is a `tcs::Item`; `tcs::Carry` makes one of any type"
)]
pub trait Decode<'a, Format>: Sized {
    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are no such message. The text is sent to the peer; show parts of the frame
    /// in it with [`Frame::excerpt`] only.
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError>;

    /// Whether the message is a value of the framing (see [`Frame::into_value`]), not bytes. A protocol whose
    /// framing has values and whose requests are bytes, or the other way around, does not compile.
    ///
    /// Default: `false`.
    const IS_VALUE: bool = false;
}

/// Reads the message that the framing has parsed last.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it stands for `decode`, which the compiler inlines where it is worth it"
)]
pub(crate) fn read<'a, Format, T, F>(
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
    framing: &mut F,
) -> Result<T, DecodeError>
where
    T: Decode<'a, Format>,
    F: Framing,
{
    // The attributes say the same where a protocol is written; this is for those made by hand.
    const {
        assert!(
            T::IS_VALUE == F::TYPED,
            "a `Codec` is framing and format of a protocol, or neither"
        );
    }
    T::decode(Frame {
        bytes,
        scratch: Some(scratch),
        value: framing.take_value(),
    })
}

/// What a caller sees of a reply: `T` of a [`Response<T>`] and, in [`Plain`], of a `Result<T, E>`,
/// whose error arrives as a refusal; any other type as it is.
pub trait Received<'a, Format> {
    /// What is decoded.
    type Value: Decode<'a, Format>;
}

impl<'a, Format, T: Decode<'a, Format>> Received<'a, Format> for T {
    type Value = T;
}

/// One message: its bytes, without its delimiter or prefix, or the value that its framing made of them.
pub struct Frame<'a> {
    bytes: &'a [u8],
    /// Memory that the message may borrow from, for text that has to be rewritten.
    scratch: Option<&'a mut Vec<u8>>,
    value: Option<Box<dyn Any + Send>>,
}

impl<'a> Frame<'a> {
    /// Takes `bytes` as the bytes of one message.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            scratch: None,
            value: None,
        }
    }

    /// Returns the bytes.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the value that the framing made of the message ([`Framing::take_value`]), if its type is `T`.
    pub fn into_value<T: Any>(self) -> Option<T> {
        self.value?.downcast().ok().map(|value| *value)
    }

    /// Lets the message borrow text that it writes to `scratch`.
    #[inline]
    pub(crate) fn with_scratch(mut self, scratch: &'a mut Vec<u8>) -> Self {
        self.scratch = Some(scratch);
        self
    }

    /// Returns the memory for text that has to be rewritten, the first time.
    #[cfg(feature = "json")]
    pub(crate) fn take_scratch(&mut self) -> Option<&'a mut Vec<u8>> {
        self.scratch.take()
    }

    /// Returns the text.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8; the error says where.
    #[inline]
    pub fn text(&self) -> Result<&'a str, DecodeError> {
        str::from_utf8(self.bytes).map_err(|source| {
            DecodeError::new(format_args!(
                "the text is not UTF-8 after byte {}",
                source.valid_up_to()
            ))
        })
    }

    /// Returns something that shows the first 64 bytes, escaped: for error messages.
    pub fn excerpt(&self) -> impl fmt::Display + use<'a> {
        Escaped(self.bytes, 64)
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.excerpt())
    }
}

/// Why bytes are not the message that was expected.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    text: Box<str>,
}

impl DecodeError {
    /// Creates an error with a text for the peer.
    pub fn new(text: impl fmt::Display) -> Self {
        Self {
            text: text.to_string().into_boxed_str(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.text.as_bytes(), self.text.len()).fmt(f)
    }
}

impl std::error::Error for DecodeError {}

/// Why a value has no form in a format.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    text: Box<str>,
}

impl EncodeError {
    /// Creates an error with a text for the log, and for the caller where the value is a request.
    pub fn new(text: impl fmt::Display) -> Self {
        Self {
            text: text.to_string().into_boxed_str(),
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.text.as_bytes(), self.text.len()).fmt(f)
    }
}

impl std::error::Error for EncodeError {}

/// Cuts what an error says, which may quote much of a peer's message.
#[cfg(any(
    feature = "json",
    feature = "messagepack",
    feature = "postcard",
    feature = "protobuf"
))]
fn shortened(text: &str) -> impl fmt::Display + '_ {
    Escaped(text.as_bytes(), 256)
}

/// A message that does not exist: the type of `None` where a message is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum NoMessage {}

impl<Format> Encode<Format> for NoMessage {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_what_a_peer_sent_escaped() {
        let sent = "a\u{1b}[2J\n";
        let shown = "a\\u{1b}[2J\\n";
        assert_eq!(DecodeError::new(sent).to_string(), shown);
        assert_eq!(EncodeError::new(sent).to_string(), shown);
        assert_eq!(crate::FrameError::malformed(sent).to_string(), shown);
        // Once is enough.
        let excerpt = Frame::new(sent.as_bytes()).excerpt().to_string();
        assert_eq!(DecodeError::new(excerpt).to_string(), shown);
    }
}
