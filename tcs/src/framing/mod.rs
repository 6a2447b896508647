//! How messages are cut out of the byte stream.
//!
//! A framing is sans-I/O: it sees bytes and says what they are, so that every way in which a stream
//! can be split is tested without a socket. One value serves one connection and may remember what
//! it has seen.

use std::{any::Any, ops::Range};

#[cfg(feature = "codec")]
mod codec;
mod contact;
mod crlf_lines;
mod delimited;
mod error;
mod find;
mod fixed;
mod foreign;
mod length_prefixed;
mod lines;
mod netstrings;
pub mod prefix;
mod raw;
mod sight;
mod until_eof;

#[cfg(feature = "codec")]
pub use codec::Codec;
#[cfg(feature = "codec")]
pub(crate) use codec::State;
pub use crlf_lines::CrlfLines;
pub use delimited::{Delimited, delimiter};
pub use error::FrameError;
pub use fixed::Fixed;
pub use foreign::OtherProtocol;
pub use length_prefixed::LengthPrefixed;
pub use lines::Lines;
pub use netstrings::Netstrings;
pub use prefix::Prefixed;
pub use raw::Raw;
pub use until_eof::UntilEof;

pub(crate) use error::too_large;
pub(crate) use find::find;
pub(crate) use sight::seems_foreign;

use crate::Rejection;

/// How messages are cut out of the byte stream, and put into it.
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
/// others the text of a function's error is sent as the reply, and after any other refusal the
/// connection closes, when what was answered before has been delivered.
///
/// On all of them but `Codec`, a server recognises the first bytes of HTTP, TLS, SSH, Redis and PROXY headers
/// ([`OtherProtocol`]): the peer is told in its own terms, and nothing is executed. So the first message of
/// a connection cannot begin with these bytes. A framing of your own looks at them only if it asks.
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

    /// Whether messages are values, which pass through [`values`](Self::values), and not bytes.
    #[doc(hidden)]
    const TYPED: bool = false;

    /// Finds the frame that `input` begins with; `None` until it is complete.
    ///
    /// After `None` it is called again with the same bytes and more behind them; after a cut, with
    /// what follows.
    ///
    /// # Errors
    ///
    /// When no frame can follow any more. The connection then closes.
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError>;

    /// Appends what stands before a message.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Completes the message that was begun when `out` had the length `start`.
    ///
    /// # Errors
    ///
    /// When the message cannot be sent in this framing. The caller removes it.
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

    /// Appends the last words to a peer whose bytes made no sense.
    #[doc(hidden)]
    fn answer_error(&mut self, out: &mut Vec<u8>, error: &FrameError) -> bool {
        error
            .foreign
            .is_some_and(|words| foreign::answer(out, words))
            || self.reject(out, &error.refusal())
    }
}

/// Which end of a connection a framing reads at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Side {
    /// The server's: what is read are requests.
    Server,
    /// The client's: what is read are replies.
    Client,
}

/// What is known of the bytes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "framings match on all of it")]
pub enum Arrival {
    /// The last read filled its buffer: there may be more already.
    Filled,
    /// Nothing more has arrived so far.
    Paused,
    /// Nothing more will come: the peer has closed its half.
    Ended,
}

/// What has arrived and was not cut yet.
#[derive(Clone, Copy, Debug)]
pub struct Unparsed<'a> {
    bytes: &'a [u8],
    limit: usize,
    side: Side,
    arrival: Arrival,
}

impl<'a> Unparsed<'a> {
    /// Describes bytes that arrived at `side`, where frames are limited to `limit` bytes.
    #[inline]
    pub const fn new(bytes: &'a [u8], limit: usize, side: Side, arrival: Arrival) -> Self {
        Self {
            bytes,
            limit,
            side,
            arrival,
        }
    }

    /// Returns the bytes.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the most bytes that a frame may have: `max_frame_len`.
    #[inline]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns which end this is.
    #[inline]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns what is known of the bytes that follow.
    #[inline]
    pub const fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// The answer when there is no complete frame: wait, or complain if nothing more will come.
    ///
    /// # Errors
    ///
    /// When the peer closed its half in the middle of a frame.
    #[inline]
    pub fn unfinished(&self) -> Result<Option<ParsedFrame>, FrameError> {
        match (self.arrival, self.bytes.len()) {
            (Arrival::Ended, 1..) => Err(FrameError::truncated()),
            _ => Ok(None),
        }
    }
}

/// A frame that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedFrame {
    pub(crate) what: What,
    pub(crate) frame: Range<usize>,
    pub(crate) consumed: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A request or a reply.
    Message,
    /// A control frame of this kind; the frame is its text.
    Control(u8),
    /// A message beyond the limit, which is skipped; the frame would be its bytes.
    TooLarge,
}

impl ParsedFrame {
    /// A message: where its bytes stand, and how many bytes it takes with all that is around them.
    #[inline]
    pub const fn message(frame: Range<usize>, consumed: usize) -> Self {
        Self {
            what: What::Message,
            frame,
            consumed,
        }
    }

    /// A control frame of a kind (`WIRE.md` has their codes), whose text stands at `text`.
    #[inline]
    pub const fn control(kind: u8, text: Range<usize>, consumed: usize) -> Self {
        Self {
            what: What::Control(kind),
            frame: text,
            consumed,
        }
    }

    /// A message of `length` bytes, beyond the limit.
    ///
    /// It is answered as *too large*, and `consumed` bytes are skipped, of which not all need have
    /// arrived yet.
    #[inline]
    pub const fn too_large(length: usize, consumed: usize) -> Self {
        Self {
            what: What::TooLarge,
            frame: 0..length,
            consumed,
        }
    }
}
