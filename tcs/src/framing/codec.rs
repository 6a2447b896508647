//! Codecs of `tokio_util` as framings.

use std::{any::Any, fmt};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::{Detection, FrameError, Framing, Input, ParsedFrame, ReadState};

/// A codec of [`tokio_util`](tokio_util::codec) as a framing: its messages are values, not bytes.
///
/// A codec is framing and format at once, so name it in both options. A request is the decoder's
/// [`Item`](Decoder::Item). A reply is any type that the codec has an [`Encoder`] for, and may borrow. For the types of
/// messages see [`CodecItem`](crate::format::CodecItem). Each connection has its own codec, made by `Default`, which
/// keeps its state between messages. A server can make it [otherwise](Self::new).
///
/// - If the decoder fails, the connection closes with a protocol error, and the text of the
///   decoder's error is logged. If the encoder fails, so does the request, as for any reply that
///   cannot be sent.
/// - The framing has no form for rejections: the connection closes, also after an `Err` of the
///   function, unless the protocol has a function for rejections (`reject_with = …`).
/// - When the peer has closed its half, the codec decides about the remaining bytes:
///   [`decode_eof`](Decoder::decode_eof) may make a last message of them.
/// - `max_frame_len` bounds the bytes that the decoder takes for one item, and the bytes that it
///   leaves in its buffer without an item. The codec's own settings bound the bytes that it keeps
///   itself, or reserves for a length that a peer claims. A reply is bounded when it is encoded.
/// - Other protocols, such as HTTP, are not detected, because the codec may speak just that. A
///   browser can post lines to a codec of lines, and they are processed.
/// - A connection that waits for a message holds no buffer.
/// - A [`Channel`](crate::Channel) does not take a codec, because the replies of a channel are bytes.
///
/// [`Encoder`]: tokio_util::codec::Encoder
///
/// # Examples
///
/// ```
/// use tcs::{ConcurrentServer, Connection, framing::Codec, server_protocol};
/// use tokio_util::codec::LinesCodec;
///
/// #[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
/// fn shout(line: String) -> String {
///     line.to_uppercase()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let server = ConcurrentServer::new(Shout).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Shout>("hello".to_owned()).await?, "HELLO");
/// # Ok(())
/// # }
/// ```
///
/// A connection with a codec cannot become a channel:
///
/// ```compile_fail
/// fn share(connection: tcs::Connection<tcs::framing::Codec<tokio_util::codec::LinesCodec>>) {
///     drop(connection.into_channel());
/// }
/// # fn main() { std::hint::black_box(share as fn(_)); }
/// ```
///
/// A handwritten protocol whose framing alone is a codec does not compile:
///
/// ```compile_fail,E0080
/// use tcs::{
///     ConcurrentServer, ConnectionInfo, Rejection, format::Plain, framing::Codec,
///     protocol::{Context, ServerProtocol},
/// };
///
/// struct Half;
///
/// impl ServerProtocol for Half {
///     type Framing = Codec<tokio_util::codec::LinesCodec>;
///     type Format = Plain;
///     type Session = ();
///     type Request<'a> = String;
///     type Reply<'a> = String;
///
///     fn open_session(&self, _info: &ConnectionInfo) {}
///
///     async fn process_request(
///         &self,
///         _context: Context<'_, ()>,
///         line: String,
///     ) -> Result<String, Rejection> {
///         Ok(line)
///     }
/// }
///
/// drop(ConcurrentServer::new(Half).run());
/// ```
pub struct Codec<C: Decoder> {
    inner: C,
    /// The decoder's own copy of the connection's unread bytes.
    arrived: BytesMut,
    /// A decoded item that `take_value` has not taken yet.
    item: Option<C::Item>,
    /// Whether the codec has returned `None` at the end of the input. The codec must not be called again.
    has_ended: bool,
}

impl<C: Decoder> Codec<C> {
    /// Creates a framing with a codec other than the default one, for
    /// [`ServerProtocol::framing`](crate::protocol::ServerProtocol::framing).
    ///
    /// A client always makes its codec by `Default`. For other settings, wrap the codec in a type of your own, whose
    /// `Default` makes it with them.
    pub fn new(codec: C) -> Self {
        Self {
            inner: codec,
            arrived: BytesMut::new(),
            item: None,
            has_ended: false,
        }
    }
}

impl<C: Decoder + Default> Default for Codec<C> {
    fn default() -> Self {
        Self::new(C::default())
    }
}

impl<C> Framing for Codec<C>
where
    C: Decoder<Item: Send, Error: fmt::Display> + Default + Send + 'static,
{
    const HAS_VALUES: bool = true;
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if self.has_ended {
            return Ok(None);
        }
        let (codec, arrived, item) = (&mut self.inner, &mut self.arrived, &mut self.item);
        let unseen = input.bytes().get(arrived.len()..).unwrap_or_default();
        append(arrived, unseen)?;
        let before = arrived.len();
        let decoded = match input.read_state() {
            ReadState::Eof => codec.decode_eof(arrived),
            ReadState::MaybeMore | ReadState::Idle => codec.decode(arrived),
        };
        *item = decoded.map_err(FrameError::malformed)?;
        self.has_ended = item.is_none() && input.read_state() == ReadState::Eof;
        // A codec takes bytes from the front. If it has added bytes to the buffer, those are not input.
        let taken = before.saturating_sub(arrived.len());
        arrived.advance(arrived.len().saturating_sub(before));
        let length = if item.is_some() { taken } else { arrived.len() };
        if length > input.limit() {
            return Err(FrameError::too_large(length, input.limit()));
        }
        if arrived.is_empty() {
            // An idle connection holds no memory.
            *arrived = BytesMut::new();
        }
        match (item, taken) {
            (Some(_), taken) => Ok(Some(ParsedFrame::message(0..0, taken))),
            (None, 0) => Ok(None),
            // The decoder keeps the bytes that it has taken, so the connection must drop them.
            (None, taken) => Ok(Some(ParsedFrame::skip(taken))),
        }
    }

    fn take_value(&mut self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(self.item.take()?))
    }

    fn encoder(&mut self) -> Option<&mut (dyn Any + Send + 'static)> {
        Some(&mut self.inner)
    }
}

/// Appends bytes to the decoder's buffer, or returns an error if there is no memory for them.
///
/// `BytesMut` grows by itself, but ends the process where there is no memory. So a `Vec`, which can fail, replaces it
/// here.
fn append(arrived: &mut BytesMut, bytes: &[u8]) -> Result<(), FrameError> {
    let length = arrived.len() + bytes.len();
    if length > arrived.capacity() {
        let mut grown = Vec::new();
        grown
            .try_reserve_exact(length.max(2 * arrived.len()))
            .map_err(|_| FrameError::out_of_memory(length))?;
        grown.extend_from_slice(arrived);
        *arrived = BytesMut::from(Bytes::from(grown));
    }
    arrived.extend_from_slice(bytes);
    Ok(())
}

impl<C: Decoder> fmt::Debug for Codec<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::codec::{AnyDelimiterCodec, BytesCodec, LengthDelimitedCodec, LinesCodec};

    use super::*;
    use crate::framing::Side;

    /// Reads a stream that arrives in `pieces`. Returns its items, and the error if it broke.
    fn read<C>(pieces: &[&[u8]], limit: usize) -> (Vec<String>, Option<String>)
    where
        C: Decoder<Item: fmt::Debug + Send, Error: fmt::Display> + Default + Send + 'static,
    {
        let mut framing = Codec::<C>::default();
        let mut items = Vec::new();
        let mut unread: Vec<u8> = Vec::new();
        let ended = [(&[][..], ReadState::Eof)];
        let pieces = pieces.iter().map(|piece| (*piece, ReadState::Idle));
        for (piece, read_state) in pieces.chain(ended) {
            unread.extend_from_slice(piece);
            loop {
                let input = Input::new(&unread, limit, Side::Server, read_state);
                match framing.parse(input) {
                    Ok(None) => break,
                    Ok(Some(parsed)) => {
                        unread.drain(..parsed.consumed);
                        items.extend(framing.item.take().map(|item| format!("{item:?}")));
                    }
                    Err(error) => return (items, Some(error.to_string())),
                }
                assert_eq!(framing.arrived, unread);
            }
            if unread.is_empty() {
                assert_eq!(framing.arrived.capacity(), 0);
            }
        }
        (items, None)
    }

    /// Like `read`, and asserts the same result for the stream cut in two at each place, and into
    /// bytes.
    fn read_in_any_pieces<C>(stream: &[u8], limit: usize) -> (Vec<String>, Option<String>)
    where
        C: Decoder<Item: fmt::Debug + Send, Error: fmt::Display> + Default + Send + 'static,
    {
        let whole = read::<C>(&[stream], limit);
        for at in 0..stream.len() {
            let (before, behind) = stream.split_at(at);
            assert_eq!(read::<C>(&[before, behind], limit), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read::<C>(&bytes, limit), whole);
        whole
    }

    fn debug<T: fmt::Debug>(items: &[T]) -> Vec<String> {
        items.iter().map(|item| format!("{item:?}")).collect()
    }

    #[test]
    fn items_are_the_same_wherever_the_stream_is_cut() {
        let (items, end) = read_in_any_pieces::<LinesCodec>(b"a\r\n\nbcd\n\xc3\xa4\n", 100);
        assert_eq!((items, end), (debug(&["a", "", "bcd", "ä"]), None));

        let stream = b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c";
        let (items, end) = read_in_any_pieces::<LengthDelimitedCodec>(stream, 100);
        assert_eq!(items, ["b\"ab\"", "b\"\"", "b\"c\""]);
        assert_eq!(end, None);

        let (items, end) = read_in_any_pieces::<AnyDelimiterCodec>(b"a,b;c\n", 100);
        assert_eq!(items, ["b\"a\"", "b\"b\"", "b\"c\""]);
        assert_eq!(end, None);
    }

    #[test]
    fn end_of_the_stream_is_the_codecs_to_judge() {
        let (items, end) = read_in_any_pieces::<LinesCodec>(b"a\nb", 100);
        assert_eq!((items, end), (debug(&["a", "b"]), None));
        let (items, end) = read_in_any_pieces::<LengthDelimitedCodec>(b"\0\0\0\x02a", 100);
        assert_eq!(items, [""; 0]);
        assert_eq!(end.as_deref(), Some("bytes remaining on stream"));
    }

    #[test]
    fn error_of_the_decoder_ends_the_stream() {
        let (items, end) = read_in_any_pieces::<LinesCodec>(b"a\n\xff\nb\n", 100);
        assert_eq!(items, debug(&["a"]));
        assert_eq!(end.as_deref(), Some("Unable to decode input as UTF8"));
    }

    #[test]
    fn limit_bounds_an_item_and_what_waits_for_one() {
        let (items, end) = read_in_any_pieces::<LinesCodec>(b"123456789\n1\n", 10);
        assert_eq!((items, end), (debug(&["123456789", "1"]), None));
        let end = |stream: &[u8]| {
            let (items, end) = read::<LinesCodec>(&[stream], 10);
            assert_eq!(items, debug(&["1"]));
            end.expect("it breaks")
        };
        let exceeds = "bytes exceeds `max_frame_len` of 10 bytes";
        assert_eq!(
            end(b"1\n1234567890\n"),
            format!("a message of 11 {exceeds}")
        );
        assert_eq!(end(b"1\n12345678901"), format!("a message of 11 {exceeds}"));
    }

    /// Takes all bytes and makes an item of each, or of none.
    #[derive(Default)]
    struct Several(Vec<u8>);

    impl Decoder for Several {
        type Item = u8;
        type Error = std::io::Error;

        fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<u8>, Self::Error> {
            self.0.extend(bytes.iter().filter(|byte| **byte != b' '));
            bytes.clear();
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    #[test]
    fn items_need_no_bytes_of_their_own_and_bytes_no_item() {
        let (items, end) = read_in_any_pieces::<Several>(b"  ab cde   ", 100);
        assert_eq!((items, end), (debug(b"abcde"), None));
    }

    #[test]
    fn bytes_that_a_codec_skips_count_for_no_limit() {
        let pieces = vec![&b"    "[..]; 100];
        assert_eq!(read::<Several>(&pieces, 10), (Vec::new(), None));
    }

    /// Needs the end of the input for an item, and drops the bytes that follow it.
    #[derive(Default)]
    struct Last {
        was_none: bool,
    }

    impl Decoder for Last {
        type Item = u8;
        type Error = std::io::Error;

        fn decode(&mut self, _bytes: &mut BytesMut) -> Result<Option<u8>, Self::Error> {
            Ok(None)
        }

        fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<u8>, Self::Error> {
            assert!(!self.was_none, "it is called after `None`");
            if bytes.len() == 3 {
                return Ok(Some(bytes.split_to(1)[0]));
            }
            self.was_none = true;
            bytes.clear();
            Ok(None)
        }
    }

    #[test]
    fn codec_is_not_called_after_the_none_at_the_end() {
        let (items, end) = read_in_any_pieces::<Last>(b"abc", 100);
        assert_eq!((items, end), (debug(b"a"), None));
        let (items, end) = read_in_any_pieces::<Last>(b"ab", 100);
        assert_eq!((items, end), (Vec::new(), None));
    }

    #[test]
    fn whatever_has_arrived_can_be_an_item() {
        let (items, end) = read::<BytesCodec>(&[b"ab", b"c"], 100);
        assert_eq!(items, ["b\"ab\"", "b\"c\""]);
        assert_eq!(end, None);
    }

    #[test]
    fn bytes_of_a_long_item_move_few_times() {
        let (mut arrived, mut moves) = (BytesMut::new(), 0);
        for _ in 0..10_000 {
            let before = arrived.capacity();
            append(&mut arrived, b"x").expect("there is memory");
            moves += usize::from(arrived.capacity() != before);
        }
        assert!(moves < 20, "{moves} moves");
    }
}
