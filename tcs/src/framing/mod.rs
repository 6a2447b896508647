//! Framings, which split the byte stream into messages.
//!
//! Name a framing in the attribute, as in `#[server_protocol(framing = tcs::framing::Lines)]`. The default is
//! [`LengthPrefixed`]. Servers and clients of a protocol use the same framing.
//!
//! # Which framing
//!
//! | framing | on the wire | for |
//! |---|---|---|
//! | **both ends use this library, or follow `WIRE.md`** | | |
//! | [`LengthPrefixed`] | a length of four bytes, the message; or a control frame | new protocols |
//! | [`Multiplexed`] | a length and an id of four bytes each, the message; or a control frame | new protocols whose functions wait: replies come in any order |
//! | **text** | | |
//! | [`Lines`] | the message, `\n` (`\r\n` is read as well) | `nc`, telnet, people |
//! | [`CrlfLines`] | the message, `\r\n`; no other line end | Internet protocols |
//! | [`CrlfText`] | lines with any end; replies of many lines, each with `\r\n` | IRC, FTP, consoles for telnet; with [`NO_TELNET`]: SMTP; also with [`DOT_END`]: POP3, NNTP |
//! | [`CodeLines`] | lines that begin with a code: `250-one`, `250 two` | replies of SMTP and FTP, at a client |
//! | [`Delimited`] | the message, a delimiter of 1 to 15 bytes | devices, protocols with their own end |
//! | [`Blocks<L>`](Blocks) | a line, and the block of bytes that it announces | memcached, beanstalkd, NATS |
//! | [`ContentLength`] | headers with the length, an empty line, the message | Language Server Protocol, JSON-RPC |
//! | **bytes of an existing protocol** | | |
//! | [`Prefixed<N>`](Prefixed) | a length of `N` bytes in either order, the message | DNS, binary protocols |
//! | [`LengthField`] | a header with a length of 1 to 8 bytes in it, the rest of the frame | Modbus, PostgreSQL, SMPP |
//! | [`Varint`] | a length in bytes of 7 bits each, the message | MQTT, Protocol Buffers |
//! | [`Digits<b' '>`](Digits) | `5 hello` | syslog |
//! | [`Hex4`] | `000ahello\n` | Git |
//! | [`Fixed<N>`](Fixed) | `N` bytes | devices, records |
//! | [`Netstrings`] | `5:hello,` | QMTP, SCGI, scripts |
//! | `Codec<C>`, with the feature `codec` | defined by a codec of `tokio_util` | existing codecs |
//! | [`Verbatim`] | bytes, as they arrive and as the function writes them | echo, telnet; replies of `Duplex` |
//! | [`Duplex<Requests, Replies>`](Duplex) | requests with one framing, replies with another | finger, whois, text protocols |
//! | **one message for each direction of a connection** | | |
//! | [`UntilEof`] | the message, the end of the stream | `nc -N`, files |
//! | [`Raw`] | the bytes that arrive together | the Python library |
//!
//! For any other framing, implement [`Framing`].
//!
//! Only `LengthPrefixed` and `Multiplexed` have control frames, which tell the peer why it gets no reply. With the
//! others except `Codec`, the text of a function's error is sent as the reply, so a call returns it as `Ok`
//! ([table](crate#an-err-of-the-function)). After any other rejection, the server sends the earlier replies and closes
//! the connection. The option `reject_with` sends your own messages instead.
//!
//! `max_frame_len` limits the message without its prefix and its delimiter, but with a header that is part of the
//! message.
//!
//! # Structure
//!
//! A framing does no I/O: it parses bytes, so you can test every way to split a stream without a socket. Each
//! connection has its own value, which may keep state.
//!
//! - [`Framing::parse`] gets an [`Input`] and returns a [`ParsedFrame`] or a [`FrameError`].
//! - A control frame is a rejection or a [`Notice`]. An [`Announcement`] is what a notice says about the messages after
//!   it.
//! - [`Detection`] decides whether the first bytes are an [`OtherProtocol`]. Servers and clients wrap
//!   their framing in a `ConnectionFraming`, which does that around any framing.

use std::any::Any;

mod blocks;
mod code_lines;
#[cfg(feature = "codec")]
mod codec;
pub(crate) mod connection_framing;
mod content_length;
mod crlf_text;
mod delimited;
mod detection;
mod digits;
mod duplex;
mod error;
mod exchanges;
mod fixed;
mod headers;
mod hex4;
mod length_field;
mod length_prefixed;
mod lines;
mod multiplexed;
mod netstrings;
mod notice;
mod other_protocol;
mod packed;
mod parse;
mod prefixed;
mod raw;
mod signatures;
mod telnet;
mod until_eof;
mod varint;
mod verbatim;
mod write;

pub use blocks::{Block, BlockLen, Blocks};
pub use code_lines::CodeLines;
#[cfg(feature = "codec")]
pub use codec::Codec;
pub use content_length::ContentLength;
pub use crlf_text::{CrlfText, DOT_END, NO_TELNET, prompt, unstuffed};
pub use delimited::{Delimited, delimiter};
pub use detection::Detection;
pub use digits::Digits;
pub use duplex::Duplex;
pub use error::FrameError;
pub use exchanges::Exchanges;
pub use fixed::Fixed;
pub use hex4::Hex4;
pub use length_field::{LengthField, LengthLayout, length_field};
pub use length_prefixed::LengthPrefixed;
pub use lines::{CrlfLines, Lines};
pub use multiplexed::Multiplexed;
pub use netstrings::Netstrings;
pub use notice::{Announcement, Notice};
pub use other_protocol::OtherProtocol;
pub use parse::{FrameKind, Input, ParsedFrame, ReadState, Side};
pub use prefixed::{INCLUDES_HEADER, LITTLE_ENDIAN, Prefixed};
pub use raw::Raw;
pub use until_eof::UntilEof;
pub use varint::Varint;
pub use verbatim::Verbatim;

pub(crate) use connection_framing::{ConnectionFraming, has_notices};
pub(crate) use notice::CHUNKS_END;

use crate::Rejection;

/// Splits a byte stream into messages, and writes messages to it.
///
/// Only [`parse`](Self::parse) is required. Most framings also implement [`begin`](Self::begin) or
/// [`finish`](Self::finish), and set [`HAS_INDEPENDENT_FRAMES`](Self::HAS_INDEPENDENT_FRAMES). The other items are for
/// special cases. The [module](self) lists the framings of this library.
///
/// # Examples
///
/// Messages of exactly eight bytes:
///
/// ```
/// use tcs::framing::{FrameError, Framing, ParsedFrame, Input};
///
/// #[derive(Debug, Default)]
/// struct Eight;
///
/// impl Framing for Eight {
///     const HAS_INDEPENDENT_FRAMES: bool = true;
///
///     fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
///         Ok(input.need(8)?.map(|_| ParsedFrame::message(0..8, 8)))
///     }
///
///     fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
///         match out.len() - start {
///             8 => Ok(()),
///             other => Err(FrameError::unsendable(format!("a message has 8 bytes, not {other}"))),
///         }
///     }
/// }
/// ```
///
/// # State
///
/// Each connection has one value of its framing, for both directions, so a framing may keep state that
/// reading and writing share. In a [`Pipeline`](crate::client::Pipeline) and a [`Channel`](crate::Channel),
/// requests are written before the replies to earlier ones are read.
///
/// The library may remove a written message before it sends any of it, such as a request whose call is dropped, or a
/// reply that a rejection replaces. If one of several [announced](Notice::Announce) items, chunks or events cannot be
/// written, the library removes all of them, and writes those before it again. The framing is not notified, so one that
/// numbers its messages would skip numbers.
///
/// # Other protocols
///
/// A server detects HTTP, TLS, SSH, Redis and PROXY headers ([`OtherProtocol`]) in the first bytes
/// of a connection. It answers in the peer's own protocol, and executes nothing that the peer sent.
/// The result does not depend on how the bytes are split into reads, except with [`Raw`], whose frame is
/// the first read. Detection works around every framing, including your own, unless the framing opts out
/// ([`Detection::OFF`]), as `Codec` does.
///
/// A client never accepts these answers as a reply, nor the notice that a server expects length-prefixed
/// frames or lines of text. If its server speaks HTTP, SSH or TLS, it does not accept the status line
/// (`HTTP/1.1 400 `), the version (`SSH-2.0-`) or the alert either. All of these are errors of the kind
/// [`Reply`](crate::ErrorKind::Reply) that name the protocol. A client that wants them as replies needs a framing
/// that opts out.
///
/// The first message of a connection therefore cannot begin like these protocols. If its bytes may still become one of
/// them, it is processed when the next bytes rule that out, or when the peer closes its sending half:
///
/// - A first frame of four bytes or more can wait if it begins like `GET /`.
/// - A first frame of two bytes or more can wait if it begins with a control character, such as the empty line `\r\n`,
///   because PROXY headers of version 2 begin like that.
/// - A shorter frame never waits. If all messages are that short, another protocol passes for messages.
/// - The frame of a framing with one exchange never waits, because nothing follows it.
/// - A client's first reply of four bytes or more can wait in the same way, such as `This` or `HTTP`.
///
/// # Values
///
/// The messages of most framings are bytes. If a framing produces values, as `Codec` does,
/// [`HAS_VALUES`](Self::HAS_VALUES) is `true`, [`take_value`](Self::take_value) returns the value of each message, and
/// [`encoder`](Self::encoder) returns the encoder of replies.
///
/// # Ids
///
/// A framing can give each frame the id of its request, as [`Multiplexed`] does, so that replies arrive in any order.
/// Then [`HAS_IDS`](Self::HAS_IDS) is `true`, [`parse`](Self::parse) returns frames [with ids](ParsedFrame::with_id),
/// and [`set_id`](Self::set_id) sets that of the frames that are written. With [`HasIds`], its channels have streams.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a framing",
    label = "no `Framing`",
    note = "the framings of tcs are `LengthPrefixed` (the default), `Multiplexed`, `Lines`, `CodeLines`, `CrlfLines`, `CrlfText`, `Blocks<L>`, `ContentLength`, `Delimited<{{ delimiter(b\";\") }}>`, `Digits<b' '>`, `Fixed<N>`, `Hex4`, `LengthField<{{ length_field(2).pack() }}>`, `Netstrings`, `Prefixed<2>`, `Varint`, `Duplex<Lines, Verbatim>`, `Verbatim`, `UntilEof` and `Raw`, and `Codec<C>` with the feature `codec`"
)]
pub trait Framing: Default + Send + 'static {
    // The messages of a connection.

    /// How many exchanges of a request and a reply a connection has.
    ///
    /// Default: [`Exchanges::Many`].
    const EXCHANGES: Exchanges = Exchanges::Many;

    /// The minimum length of a message in bytes. If `max_frame_len` is smaller, `bind` and
    /// connecting return an error.
    ///
    /// Default: 0.
    const MIN_MESSAGE_LEN: usize = 0;

    /// Whether messages are values, and not bytes. See [Values](Self#values).
    ///
    /// Default: `false`.
    const HAS_VALUES: bool = false;

    /// Whether each frame has the id of its request. See [Ids](Self#ids).
    ///
    /// Default: `false`.
    const HAS_IDS: bool = false;

    // The checks of the library, and its work in place of the framing.

    /// The error in the parameters of this framing, if there is one.
    ///
    /// Such an error is a compile error wherever a protocol uses the framing.
    ///
    /// Default: `None`.
    const PARAMETER_ERROR: Option<&'static str> = None;

    /// How other protocols are detected in the first bytes of a connection.
    ///
    /// Default: [`Detection::ON`]. Override it with [`Detection::OFF`] if your framing carries one of
    /// these protocols, or if a first message may begin like one.
    const DETECTION: Detection = Detection::ON;

    /// Whether [`reject`](Self::reject) can write every rejection, and so always returns `true`.
    ///
    /// If `true`, the protocol's own function for rejections would never be called, so
    /// `#[server_protocol(reject_with = …)]` does not compile.
    ///
    /// Default: `false`.
    const HAS_REJECTION_FRAME: bool = false;

    // The use of frames that the library has parsed or written before.

    /// Whether each frame is independent of those before it, so that a new value of the framing reads it.
    ///
    /// Set this to `true` if the framing has no state, or only records how far it has searched. With `true`:
    ///
    /// - A [`Channel`](crate::Channel) sends requests again, because it can read them back out of their frames.
    /// - A server takes a new value after a block without a frame
    ///   ([`Requests::exactly`](crate::protocol::Requests::exactly)), so that its state is not about other bytes.
    /// - A server reserves as much of its [memory budget](crate::server::Server::memory_budget) for a large frame as
    ///   the frame takes, if a new value returns it as [oversized](ParsedFrame::oversized) with a smaller limit.
    ///   Otherwise, it reserves as much as the largest message takes.
    ///
    /// Default: `false`.
    const HAS_INDEPENDENT_FRAMES: bool = false;

    /// As [`HAS_INDEPENDENT_FRAMES`](Self::HAS_INDEPENDENT_FRAMES), for the frames that a server reads.
    #[doc(hidden)]
    const HAS_INDEPENDENT_REQUESTS: bool = Self::HAS_INDEPENDENT_FRAMES;

    // Reading and writing.

    /// Sets the end of the connection at which this framing is used, before anything is written. Only a client calls
    /// it.
    ///
    /// Implement it for a framing whose requests and replies differ. [`parse`](Self::parse) knows the end from
    /// [`Input::side`].
    ///
    /// Default: does nothing.
    fn set_side(&mut self, side: Side) {
        let _ = side;
    }

    /// Returns the frame that `input` begins with, or `None` if it is not complete.
    ///
    /// After `None`, this method is called again with the same bytes and more after them, or with the same
    /// bytes and another [`ReadState`]. After a frame, it is called with the bytes that follow the frame. A
    /// server calls it with no bytes only at the end of the input, and for messages that are values.
    ///
    /// A frame has at least one byte and ends within `input`, and its message is within the frame.
    /// Any other frame ends the connection with an error: the request has *failed*. There are three
    /// exceptions: the rest of a message beyond the limit may arrive later; messages that are
    /// [values](Self::HAS_VALUES) need no bytes; and the reply of a framing with
    /// [one exchange](Self::EXCHANGES) may be empty.
    ///
    /// # Limits
    ///
    /// The framing itself enforces [`Input::limit`], which is `max_frame_len`, on messages that are read.
    /// As soon as it knows that a message is longer, it returns [`ParsedFrame::oversized`], or
    /// [`FrameError::too_large`] if it cannot skip the message. Nothing else bounds a frame: the read buffer
    /// grows with the bytes that arrive while this method returns `None`, until `frame_timeout`. The library
    /// checks the length of messages that are written.
    ///
    /// # Errors
    ///
    /// Returns an error if no frame can follow any more. The connection then closes, and this
    /// method is not called again.
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError>;

    /// Appends the bytes that precede a message.
    ///
    /// Default: none.
    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Completes a message. `start` is the length of `out` before [`begin`](Self::begin).
    ///
    /// Default: the message is sent as it is.
    ///
    /// # Errors
    ///
    /// Returns an error if this framing cannot carry the message. The caller removes it, and may remove and write again
    /// the messages before it ([above](Self)).
    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let _ = (out, start);
        Ok(())
    }

    /// Appends a control frame that tells the peer why it gets no reply.
    ///
    /// Returns `true` if the frame was appended, and `false` if this framing has none for this rejection.
    ///
    /// After [`Response::ReplyAndClose`](crate::Response::ReplyAndClose), the library calls this method only with
    /// [`HAS_REJECTION_FRAME`](Self::HAS_REJECTION_FRAME): otherwise the reply was the last message.
    ///
    /// Default: `false`.
    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        let _ = (out, rejection);
        false
    }

    /// Returns `true` if this end of a connection writes notices: [`notice`](Self::notice) appends something. Without
    /// notices, chunks look like requests, and events like replies, so the protocol must tell them apart.
    ///
    /// The library looks for notices behind a request that is still processed, and parses them again later. So at the
    /// end that reads notices, `parse` must depend only on the bytes, without a record of how far it has searched, and
    /// parsing a frame twice must leave the same state.
    ///
    /// Default: `false`.
    #[inline]
    fn has_notices(side: Side) -> bool {
        let _ = side;
        false
    }

    /// Appends a notice: about the request with the id that was [set](Self::set_id) last, or, without ids, about the
    /// last request.
    ///
    /// Returns `true` if the notice was appended, and `false` if this framing has none. [`parse`](Self::parse) returns
    /// it as a control frame of the kind [`Notice::code`], whose text is [`Notice::number`] in big-endian order.
    ///
    /// Default: `false`.
    fn notice(&mut self, out: &mut Vec<u8>, notice: Notice) -> bool {
        let _ = (out, notice);
        false
    }

    // Values: the rest is for framings such as `Codec`. Framings of bytes leave it as it is.

    /// Takes the value of the last parsed message. The format gets it from
    /// [`Frame::into_value`](crate::format::Frame::into_value).
    ///
    /// Default: `None`, for messages that are bytes.
    #[inline]
    fn take_value(&mut self) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// Returns the encoder of values. The format gets it from [`Writer::encoder`](crate::format::Writer::encoder).
    ///
    /// Default: `None`, for messages that are bytes.
    #[inline]
    fn encoder(&mut self) -> Option<&mut (dyn Any + Send + 'static)> {
        None
    }

    // Ids: for framings such as `Multiplexed`. Framings without ids leave this as it is.

    /// Sets the id of the frames written from now on, or 0 for frames that belong to no request. Returns the previous
    /// id.
    ///
    /// Default: does nothing.
    #[inline]
    fn set_id(&mut self, id: u32) -> u32 {
        let _ = id;
        0
    }
}

/// A framing whose frames have the ids of their requests, so that many tasks can have
/// [streams](crate::Channel::stream) over one connection: [`HAS_IDS`](Framing::HAS_IDS) is `true`.
#[diagnostic::on_unimplemented(
    message = "over a channel of the framing `{Self}`, there are no streamed replies",
    label = "a stream would hold up all other calls",
    note = "use `framing = Multiplexed`, or a `Connection` for the stream"
)]
pub trait HasIds: Framing {}

impl Rejection {
    /// Adds the request, if the framing leaves rejections to the protocol.
    #[cold]
    pub(crate) fn of_request<F: Framing>(self, request: &[u8]) -> Self {
        if F::HAS_REJECTION_FRAME {
            return self;
        }
        self.with_request(request)
    }
}
