//! How messages are taken off the byte stream and put into it.
//!
//! A framing does no I/O: it sees bytes and says what they are, so that every way in which a stream
//! can be split is tested without a socket. One value serves one connection and may remember what
//! it has seen.
//!
//! Servers and clients hold their framing in a [`FirstFrame`], which detects other protocols around any
//! framing. The files import from each other in one direction: the framings and `first_frame` from
//! `parse`, `first_frame` from `signatures`, all of them from `other_protocol`.

use std::any::Any;

#[cfg(feature = "codec")]
mod codec;
mod delimited;
mod first_frame;
mod fixed;
mod length_prefixed;
mod lines;
mod netstrings;
mod other_protocol;
mod parse;
pub mod prefix;
mod signatures;
mod unframed;

#[cfg(feature = "codec")]
pub use codec::Codec;
#[cfg(feature = "codec")]
pub(crate) use codec::State;
pub use delimited::{Delimited, delimiter};
pub use first_frame::FirstFrame;
pub use fixed::Fixed;
pub use length_prefixed::LengthPrefixed;
pub use lines::{CrlfLines, Lines};
pub use netstrings::Netstrings;
pub use other_protocol::OtherProtocol;
pub use parse::{Arrival, FrameError, Granularity, ParsedFrame, Side, Unparsed};
pub use prefix::Prefixed;
pub use unframed::{Raw, UntilEof};

pub(crate) use parse::{FrameKind, too_large};
pub(crate) use signatures::seems_other_protocol;

use crate::Rejection;

/// How messages are taken off the byte stream, and put into it.
///
/// The framings of this library:
///
/// | framing | on the wire | for |
/// |---|---|---|
/// | [`LengthPrefixed`] | a length of four bytes, the message; or a control frame | new protocols |
/// | [`Lines`] | the message, `\n` (`\r\n` is read as well) | `nc`, telnet, people |
/// | [`CrlfLines`] | the message, `\r\n`, and nothing else is a line end | Internet protocols |
/// | [`Delimited`] | the message, a delimiter of 1 to 15 bytes | devices, protocols with their own end |
/// | [`Fixed<N>`](Fixed) | `N` bytes | devices, records |
/// | [`Prefixed`] | a length of 1, 2 or 4 bytes in either order, the message | existing protocols |
/// | [`Netstrings`] | `5:hello,` | QMTP, SCGI, scripts |
/// | [`UntilEof`] | the message, the end of what is sent | `nc -N`, files |
/// | [`Raw`] | what arrives at once | the Python library, toys |
/// | `Codec<C>`, with the feature `codec` | what a codec of `tokio_util` says | codecs that exist already |
///
/// Only `LengthPrefixed` has control frames, by which a peer is told why it gets no reply. On the
/// others the text of a function's error is sent as the reply. After any other rejection the
/// connection closes, once the replies before it have been delivered.
///
/// # Other protocols
///
/// A server detects HTTP, TLS, SSH, Redis and PROXY headers ([`OtherProtocol`]) in the first bytes of a
/// connection. The peer is told in its own terms, and nothing that it sent is executed, however its
/// bytes arrive. This is done around every framing, also around your own, unless it opts out
/// ([`DETECTS_OTHER_PROTOCOLS`](Self::DETECTS_OTHER_PROTOCOLS)), as `Codec` does.
///
/// So the first message of a connection cannot begin like these protocols. If it ends where it can
/// still become one of them, it is processed when the next bytes show that it is not, or when the peer
/// closes its sending half. This can happen to a first frame of four bytes or more that begins with,
/// say, `GET /`, and to one of two bytes or more that begins with a control character, such as the empty
/// line `\r\n`, which is how PROXY headers of version 2 begin. A shorter frame never waits, so where all
/// messages are that short, another protocol passes for messages.
///
/// # Examples
///
/// Messages of exactly eight bytes:
///
/// ```
/// use tcs::{ParsedFrame, FrameError, Framing, Unparsed};
///
/// #[derive(Debug, Default)]
/// struct Eight;
///
/// impl Framing for Eight {
///     fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
///         if input.bytes().len() >= 8 {
///             return Ok(Some(ParsedFrame::message(0..8, 8)));
///         }
///         input.unfinished()
///     }
///
///     fn begin(&mut self, _out: &mut Vec<u8>) {}
///
///     fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
///         match out.len() - start {
///             8 => Ok(()),
///             other => Err(FrameError::unsendable(format!("a message has 8 bytes, not {other}"))),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a framing",
    label = "no `Framing`",
    note = "the framings of tcs are `LengthPrefixed` (the default), `Lines`, `CrlfLines`, `Delimited<{{ delimiter(b\";\") }}>`, `Fixed<N>`, `Netstrings`, `Prefixed<u16>`, `UntilEof` and `Raw`, and `Codec<C>` with the feature `codec`"
)]
pub trait Framing: Default + Send + Sync + 'static {
    /// Whether a connection has any number of exchanges, one after the other.
    ///
    /// If it is `false`, a connection has one exchange, and the end of the connection ends the reply.
    const PERSISTENT: bool = true;

    /// Whether the end of what the client sends ends its request.
    ///
    /// If it is `true`, a client closes its sending half after its request. Such a framing is not
    /// [`PERSISTENT`](Self::PERSISTENT).
    const HALF_CLOSE: bool = false;

    /// The fewest bytes that a message can have. A smaller `max_frame_len` is an error of `bind` and
    /// of connecting.
    const MIN_FRAME_LEN: usize = 0;

    /// What is wrong with the parameters of this framing, if anything.
    ///
    /// It is a compile error wherever a protocol uses the framing.
    const PARAMETER_ERROR: Option<&'static str> = None;

    /// Whether [`reject`](Self::reject) can write every rejection.
    ///
    /// If it is `true`, the protocol's own function for rejections would never be called, so
    /// `#[server_protocol(refuse = …)]` does not compile.
    const HAS_REJECTION_FRAME: bool = false;

    /// Whether a server looks for other protocols in the first bytes of a connection.
    ///
    /// It does unless you override this with `false`. Do so if your framing carries one of these
    /// protocols, or if a first message may begin like one. At a client, the same constant decides
    /// whether an error about a server's first bytes says what the server seems to speak.
    const DETECTS_OTHER_PROTOCOLS: bool = true;

    /// Whether messages are values, which pass through [`values`](Self::values), and not bytes.
    #[doc(hidden)]
    const TYPED: bool = false;

    /// In what units this framing takes bytes off a stream.
    #[doc(hidden)]
    const GRANULARITY: Granularity = Granularity::Bytes;

    /// Finds the frame that `input` begins with, or returns `None` if it is not complete.
    ///
    /// After `None`, this is called again with the same bytes and more after them. After a frame, it is
    /// called with the bytes that follow the frame.
    ///
    /// # Errors
    ///
    /// When no frame can follow any more. The connection then closes, and this is not called again.
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError>;

    /// Appends what precedes a message.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Completes the message that began when `out` had the length `start`.
    ///
    /// # Errors
    ///
    /// When this framing cannot carry the message. The caller removes it.
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError>;

    /// Appends a frame that tells the peer why it gets no reply.
    ///
    /// Returns `true` if `out` now holds the frame, and `false` if this framing has none. It has none
    /// unless you override this.
    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        let _ = (out, rejection);
        false
    }

    /// Lends what values pass through.
    #[doc(hidden)]
    #[inline]
    fn values(&mut self) -> Option<&mut (dyn Any + Send)> {
        None
    }
}
