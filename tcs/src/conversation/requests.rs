//! Requests with chunks.

use std::{error, fmt, marker::PhantomData};

use super::{ChunksEnd, Conversation, Demand};
use crate::{
    ConnectionInfo, FromContext, Rejection,
    buffer::Messages,
    format::{Decode, DecodeError, Frame},
};

/// A protocol whose requests are followed by a stream of chunks.
///
/// The option `requests = Chunk<'_>` of [`#[server_protocol]`](crate::server_protocol) implements it. By hand:
///
/// ```
/// use tcs::{format::Plain, protocol::Receives};
///
/// /// Names the chunks.
/// enum Upload {}
///
/// impl Receives for Upload {
///     type Format = Plain;
///     type Chunk<'a> = &'a [u8];
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` receives no chunks after its request",
    label = "no `Receives`",
    note = "add the type of the chunks to the attribute of its function: `#[server_protocol(requests = Chunk<'_>)]`"
)]
// Where a handle is used without its option, rustc shows the line of the trait, so it says what to write.
#[rustfmt::skip]
pub trait Receives { // implemented by `#[server_protocol(requests = Chunk<'_>)]`
    /// The format of the chunks.
    type Format;
    /// A chunk, which may borrow.
    type Chunk<'a>;
}

/// Receives the chunks of a request: the messages that follow it.
///
/// Take it as a parameter, with the option `requests`. The function receives one chunk at a time. The server reads at
/// most 64 KiB ahead, and leaves the rest with the peer.
///
/// With [`LengthPrefixed`](crate::framing::LengthPrefixed), the client marks the chunks of a request and their end, and
/// the server skips chunks that the function does not receive. With framings without control frames, chunks are
/// ordinary messages: the protocol must define which one is the last, and the messages after it are the next requests.
/// The end of the input also ends the chunks, so a truncated upload looks complete unless the protocol marks its end.
///
/// A chunk of more than 128 KiB takes memory from the [`memory_budget`](crate::server::Server::memory_budget). If there
/// is none, the function is dropped, the request fails, and the connection closes.
///
/// The function may reply before the last chunk. [`request_timeout`](crate::server::Server::request_timeout) limits the
/// time from one chunk to the next, whatever the function waits for. While it waits for the peer,
/// [`idle_timeout`](crate::server::Server::idle_timeout) limits the time until the first byte of a chunk, and
/// [`frame_timeout`](crate::server::Server::frame_timeout) the time from there to its last byte.
///
/// # Examples
///
/// ```
/// use tcs::{protocol::Requests, server_protocol};
///
/// /// Adds numbers, up to the end of the request.
/// #[server_protocol(requests = u64)]
/// async fn add(start: u64, mut more: Requests<'_, Add>) -> Result<u64, String> {
///     let mut sum = start;
///     while let Some(number) = more.next().await? {
///         sum += number;
///     }
///     Ok(sum)
/// }
///
/// ```
#[derive(Debug)]
pub struct Requests<'a, P> {
    conversation: &'a Conversation,
    batch: Messages,
    scratch: Vec<u8>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Receives> Requests<'_, P> {
    /// Receives the next chunk. Returns `None` after the last one.
    ///
    /// The chunk borrows from the handle.
    ///
    /// # Errors
    ///
    /// Returns an error if the chunk cannot be decoded, after which you can receive the next one; if it is longer than
    /// [`max_frame_len`](crate::server::Server::max_frame_len); if the bytes are not a frame; or if the input ends
    /// within a frame, or before the marked end of the chunks. After the last two, the connection closes once the
    /// function has returned.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the next call returns the chunk. Without another call, a chunk that has already arrived
    /// is dropped, even if it would have been the next request.
    pub async fn next<'c>(&'c mut self) -> Result<Option<P::Chunk<'c>>, ReceiveError>
    where
        P::Chunk<'c>: Decode<'c, P::Format>,
    {
        let Self {
            conversation,
            batch,
            scratch,
            ..
        } = self;
        if batch.is_empty() {
            let received = conversation.chunks.receive(Demand::Chunks, batch).await;
            if let Err(end) = received {
                return ReceiveError::from_end(end).map(|()| None);
            }
        }
        let Some(chunk) = batch.next() else {
            return Ok(None);
        };
        scratch.clear();
        let frame = Frame::new(chunk).with_scratch(scratch);
        let chunk = P::Chunk::decode(frame)
            .map_err(|error| ReceiveError(ReceiveErrorKind::Decode(error)))?;
        Ok(Some(chunk))
    }

    /// Receives a block of `length` bytes without a frame, which follows the request or the last chunk.
    ///
    /// Use it for existing protocols, such as lines that announce a block. Check the length first, because the peer may
    /// choose it. A piece may be a single byte, and the timeouts of a chunk apply to each piece, so limit the whole
    /// block with [`tokio::time::timeout`] as well.
    ///
    /// With [`LengthPrefixed`](crate::framing::LengthPrefixed), a block can only come before the first chunk, and
    /// consists of whatever follows the request, even if the client has sent chunks. Between and after chunks,
    /// [`Body::next`] returns an error, and no bytes are skipped.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{framing::CrlfLines, protocol::Requests, server_protocol};
    ///
    /// /// The blocks of memcached: a length, the bytes, and a line feed.
    /// #[server_protocol(framing = CrlfLines, requests = &[u8])]
    /// async fn store(length: u16, mut more: Requests<'_, Store>) -> Result<String, String> {
    ///     let mut block = Vec::new();
    ///     let mut body = more.exactly(usize::from(length) + 2);
    ///     while let Some(piece) = body.next().await? {
    ///         block.extend_from_slice(piece);
    ///     }
    ///     Ok(format!("STORED {}", block.trim_ascii_end().len()))
    /// }
    ///
    /// ```
    pub fn exactly(&mut self, length: usize) -> Body<'_> {
        self.conversation.chunks.begin_block(length);
        Body {
            conversation: self.conversation,
            batch: &mut self.batch,
            rest: length,
        }
    }
}

impl ConnectionInfo {
    /// Returns a handle that receives the chunks of a request, as the parameter [`Requests`] of a function does.
    pub fn requests<P: Receives>(&self) -> Requests<'_, P> {
        let conversation = self.conversation();
        conversation.chunks.add_receiver();
        Requests {
            conversation,
            batch: Messages::default(),
            scratch: Vec::new(),
            protocol: PhantomData,
        }
    }
}

impl<'a, P: Receives> FromContext<'a> for Requests<'a, P> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.requests())
    }
}

/// A block of bytes without a frame. Created by [`Requests::exactly`].
///
/// When it is dropped, the server skips the rest of the block.
#[derive(Debug)]
pub struct Body<'a> {
    conversation: &'a Conversation,
    batch: &'a mut Messages,
    rest: usize,
}

impl Body<'_> {
    /// Receives the next piece, of at most 64 KiB. Returns `None` after the last one.
    ///
    /// # Errors
    ///
    /// Returns an error if the input or the request ends before the block does. Also returns an error between announced
    /// chunks; you can then receive the next chunk.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, ReceiveError> {
        if self.rest == 0 {
            return Ok(None);
        }
        let (chunks, demand) = (&self.conversation.chunks, Demand::Bytes(self.rest));
        if let Err(end) = chunks.receive(demand, self.batch).await {
            ReceiveError::from_end(end)?;
            let text = "the request has ended before the block";
            return Err(ReceiveError(ReceiveErrorKind::Framing(text.to_owned())));
        }
        let piece = self.batch.next().unwrap_or_default();
        self.rest = self.rest.saturating_sub(piece.len());
        Ok(Some(piece))
    }

    /// Returns how many bytes of the block were not received yet.
    pub const fn rest(&self) -> usize {
        self.rest
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.conversation.chunks.begin_block(0);
    }
}

/// The error of [`Requests::next`] and [`Body::next`].
#[derive(Debug)]
pub struct ReceiveError(ReceiveErrorKind);

#[derive(Debug)]
enum ReceiveErrorKind {
    Decode(DecodeError),
    Framing(String),
}

impl ReceiveError {
    fn from_end(end: ChunksEnd) -> Result<(), Self> {
        match end {
            ChunksEnd::Complete => Ok(()),
            ChunksEnd::Failed(text) => Err(Self(ReceiveErrorKind::Framing(text))),
        }
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chunk of the request: ")?;
        match &self.0 {
            ReceiveErrorKind::Decode(error) => error.fmt(f),
            ReceiveErrorKind::Framing(text) => f.write_str(text),
        }
    }
}

impl error::Error for ReceiveError {}
