//! Formats, which convert messages to bytes and back.
//!
//! A format is a marker type, such as [`Plain`] or `Json`. Types that can be sent implement
//! [`Encode`], and types that can be received implement [`Decode`]. The library calls `encode` with a
//! [`Writer`], which appends to the send buffer of the connection, and `decode` with a [`Frame`],
//! which lends bytes of the receive buffer. A message is not copied in between.
//!
//! # Errors
//!
//! Decoding fails if the bytes are not a value of the type, if bytes follow the value, or
//! if the value nests too deeply. A server rejects such a request as a *bad request*, with the text
//! of the error. The call of a client fails with [`ErrorKind::Reply`](crate::ErrorKind::Reply). The
//! message gives the position: a line and a column in `Json`, a byte in `Postcard`, a path in
//! `MessagePack` and `Protobuf`.
//!
//! # Results
//!
//! In [`Plain`], the `Err` of a function is a rejection. It reaches the caller as an error only with
//! [`LengthPrefixed`](crate::framing::LengthPrefixed) or [`Multiplexed`](crate::framing::Multiplexed): see [the table](crate#an-err-of-the-function).
//!
//! In the serde formats, which are `Json`, `MessagePack` and `Postcard`, a `Result` is a value
//! like any other. The client receives it as the reply, so a call returns
//! `Result<Result<T, E>, tcs::Error>`. To close the connection after such a reply, return a
//! `Response<Result<T, E>>`; `Result<Response<T>, E>` is for [`Plain`] only.
//!
//! # Nesting
//!
//! In the serde formats, a list, a map, a struct, a tuple, an enum and the value of an `Option`
//! are one level each. An enum whose variant has a tuple or named fields is two levels. A
//! newtype struct adds no level. `MessagePack` and `Postcard` allow 128 levels. `Json`
//! allows 127 levels of lists and objects, and 256 levels with options.
//!
//! # Serde attributes
//!
//! For a type with `#[serde(untagged)]`, `#[serde(tag = …)]` or `#[serde(flatten)]`, serde first
//! reads any value, and then reads the type from that value. The library cannot check the second
//! step:
//!
//! - A number that is too large for an `f32` is read as infinity. Without such an attribute, it is
//!   an error.
//! - An untagged or flattened type must not contain itself through an `Option` alone. Reading the
//!   message `1` as `#[serde(untagged)] enum Tree { Leaf(String), Node(Option<Box<Tree>>) }`
//!   overflows the stack, which ends the process. Put the link into a field, as in
//!   `Node { next: Option<Box<Tree>> }`, so that each level takes bytes.
//! - Reading an untagged enum takes time that doubles with each level of the message if several
//!   variants contain the enum again. Give such a type a tag, or only one variant that contains it.

// Each format has a file, and the crate of the same name does the work. The serde formats read
// through a `guard`, which limits what a message of a peer may cost.

#[cfg(feature = "codec")]
mod codec;
mod error;
mod frame;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
mod guard;
#[cfg(feature = "json")]
mod json;
pub(crate) mod lossy;
#[cfg(feature = "messagepack")]
mod messagepack;
mod outcome;
pub(crate) mod plain;
#[cfg(feature = "postcard")]
mod postcard;
#[cfg(feature = "protobuf")]
pub(crate) mod protobuf;
mod writer;

use crate::framing::Framing;

#[doc(inline)]
pub use crate::__plain as plain;
use crate::response::Upgrade;
#[cfg(feature = "codec")]
pub use codec::{CodecItem, External};
pub use error::{DecodeError, EncodeError};
pub use frame::Frame;
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "messagepack")]
pub use messagepack::MessagePack;
pub(crate) use outcome::EncodeOutcome;
pub use plain::Plain;
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;
pub use writer::Writer;
pub(crate) use writer::{After, WriterState};

/// A message that can be sent in a format.
///
/// Implement this trait for your own type, or use [`plain!`](plain!) for a type with `Display` and `FromStr`. Types
/// that implement serde's `Serialize`, and messages of `prost`, implement it for the formats that the
/// [features](crate#features) enable.
///
/// For your own format, you can implement this trait for a type of any crate (`impl Encode<Cbor> for String`), but not
/// for all types that implement another trait, such as `Serialize`. Define a wrapper for these (`AsCbor<T>`).
///
/// A value may be a message in several formats. If you call [`encode`](Self::encode) yourself, name
/// the format: `Encode::<Plain>::encode(text, out)`.
///
/// # Examples
///
/// Your own message in an existing format. For a whole format, see [a format of your
/// own](crate::protocol#a-format-of-your-own).
///
/// ```
/// use tcs::format::{Encode, EncodeError, Plain, Writer};
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
    note = "`Json`, `MessagePack` and `Postcard` send each type with `Serialize`: derive it; without a `format` in the attribute, also add `format = Json`, and the feature `json` to `tcs`",
    note = "`Plain`, the default, sends text, bytes, numbers, `bool`, `char`, addresses, `()`, and `Result` or `Response` of them; for a type with `Display` and `FromStr` write `tcs::format::plain!(Type);`",
    note = "`Protobuf` sends a `prost::Message`; `Codec<C>` what `C` has an `Encoder` for, if it is a `tcs::format::CodecItem` (`tcs::format::External` makes one of any type); for a format of your own, implement `Encode`"
)]
pub trait Encode<Format> {
    /// Whether [`take_upgrade`](Self::take_upgrade) may return something.
    #[doc(hidden)]
    const UPGRADES: bool = false;

    /// Writes the message to the send buffer of the connection, or declares that there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if this format cannot express the value. A server tells the peer that the
    /// request failed, and logs the text of the error. A client returns the error to the caller.
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// Returns the message, if it is bytes already, so that no code of the user runs to encode it.
    #[doc(hidden)]
    #[inline]
    fn plain_bytes(&self) -> Option<&[u8]> {
        None
    }

    /// Takes the upgrade, which takes the connection over after this message.
    ///
    /// A [`Writer`] cannot hold the upgrade, because it borrows from the request.
    #[doc(hidden)]
    fn take_upgrade<'a>(&mut self) -> Option<Upgrade<'a>>
    where
        Self: 'a,
    {
        None
    }
}

/// A message that can be received in a format. It may borrow from the frame.
///
/// # Examples
///
/// ```
/// use tcs::format::{Decode, DecodeError, Frame, Plain};
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
    note = "`Json`, `MessagePack` and `Postcard` read each type with `Deserialize`: derive it; without a `format` in the attribute, also add `format = Json`, and the feature `json` to `tcs`",
    note = "`Plain`, the default, reads text, bytes, numbers, `bool`, `char`, addresses and `()`; for a type with `Display` and `FromStr` write `tcs::format::plain!(Type);`",
    note = "the request is the first parameter without a helper attribute: write `#[state]` before what all connections share; `&Peer` and the like follow the request",
    note = "`Protobuf` reads a `prost::Message`; `Codec<C>` what `C` decodes, as a value that is owned, if that is a `tcs::format::CodecItem` (`tcs::format::External` makes one of any type); for a format of your own, implement `Decode`"
)]
pub trait Decode<'a, Format>: Sized {
    /// Whether the message is the value that the framing made ([`Frame::into_value`]), and not
    /// bytes. It must equal [`Framing::HAS_VALUES`] of the protocol's framing; otherwise, the
    /// protocol does not compile.
    ///
    /// Default: `false`.
    const IS_VALUE: bool = false;

    /// Whether the server does not wait for a message ([`NoRequest`](crate::protocol::NoRequest)).
    #[doc(hidden)]
    const IS_ABSENT: bool = false;

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// Returns an error if the frame is not such a message. A server sends the text to the peer.
    /// Quote the frame with [`Frame::excerpt`], which limits and escapes what a peer sent.
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError>;
}

/// A reply, with the type of the value that the caller of a protocol function receives.
///
/// This is `T` for a [`Response<T>`](crate::Response) and, in [`Plain`], for a `Result<T, E>`,
/// whose error is a rejection. Every other reply is received unchanged.
pub trait ReplyValue<'a, Format> {
    /// The type that is decoded.
    type Value: Decode<'a, Format>;
}

// Each format implements this for its `Response`. One implementation for all of them would conflict with
// this one.
impl<'a, Format, T: Decode<'a, Format>> ReplyValue<'a, Format> for T {
    type Value = T;
}

/// The type of an optional message in a protocol that has none. The option is always `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it has no values")]
pub enum NoMessage {}

impl<Format> Encode<Format> for NoMessage {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {}
    }
}

/// Reads the message that the framing has parsed last. The message may borrow text that its format
/// rewrites into `scratch`.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the compiler then decides by what `decode` costs"
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
    // The attributes check this with a better error. This is for protocols without an attribute.
    const {
        assert!(
            T::IS_VALUE == F::HAS_VALUES,
            "a `Codec` is framing and format of a protocol, or neither"
        );
    }
    let frame = Frame::new(bytes).with_scratch(scratch);
    T::decode(frame.with_value(framing.take_value()))
}

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod test_values;
#[cfg(test)]
mod tests;
