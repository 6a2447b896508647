//! Lines that announce a block of bytes.

use std::{fmt, marker::PhantomData};

use super::{
    Detection, FrameError, Framing, Input, Lines, ParsedFrame, ReadState, Side,
    parse::{skip_or_reject, skip_terminator},
    write::make_room,
};

/// Lines, some of which announce a block of bytes: for memcached, beanstalkd and NATS.
///
/// `L` finds the length of the block in a line: [`BlockLen`]. The block follows the line end, and `\r\n` follows the block.
/// A line ends with `\n` or `\r\n`. The request is a [`Block`], or any type that is read from bytes: the line, its end and the
/// block.
///
/// A reply is sent as the function wrote it, with `\r\n` after it. So it may have blocks as well:
/// `"VALUE key 0 3\r\nabc\r\nEND"`. A client of this library reads what `L` says; with [`Duplex`](super::Duplex), replies
/// have an `L` of their own. A client cannot send a line whose block does not have the length that `L` says.
///
/// A line and its block have at most `max_frame_len` bytes together. A message of up to four times as much is skipped
/// and rejected as *too large*.
///
/// # Examples
///
/// ```
/// use tcs::{ConcurrentServer, Peer, framing::{Block, BlockLen, Blocks}, server_protocol};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// /// `put 5`, as in beanstalkd.
/// enum Put {}
///
/// impl BlockLen for Put {
///     fn block_len(line: &str) -> Option<u64> {
///         line.strip_prefix("put ")?.parse().ok()
///     }
/// }
///
/// #[server_protocol(framing = Blocks<Put>)]
/// fn jobs(request: Block<'_>) -> String {
///     match request.block {
///         Some(block) => format!("{}: {} bytes", request.line, block.len()),
///         None => "FOUND 1 5\r\nhello".to_owned(),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut near, far) = tokio::io::duplex(1024);
/// let server = tokio::spawn(ConcurrentServer::new(Jobs).serve_stream(far, Peer::unnamed()));
/// near.write_all(b"put 7\r\n\r\nbytes\r\npeek\r\n").await?;
/// near.shutdown().await?;
/// let mut replies = String::new();
/// near.read_to_string(&mut replies).await?;
/// assert_eq!(replies, "put 7: 7 bytes\r\nFOUND 1 5\r\nhello\r\n");
/// # drop(near);
/// # assert_eq!(server.await??.requests.served, 2);
/// # Ok(())
/// # }
/// ```
pub struct Blocks<L> {
    searched: usize,
    /// The start and the length of the block, once its line has arrived.
    block: Option<(usize, usize)>,
    /// The bytes that must come next, after a block that was skipped.
    terminator: &'static [u8],
    is_client: bool,
    lengths: PhantomData<fn() -> L>,
}

/// Finds the length of the block that a line announces, for [`Blocks`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find the length of a block",
    label = "no `BlockLen`",
    note = "implement it for a type without values: `enum Put {{}}`, `impl BlockLen for Put {{ fn block_len(line: &str) -> Option<u64> {{ … }} }}`"
)]
pub trait BlockLen: 'static {
    /// Returns the length of the block that follows a line, or `None` if none follows.
    ///
    /// Return `None` for an invalid line, too: it then becomes a request of its own. The bytes after it are read as
    /// lines, so a peer could smuggle commands in a block: answer a line that should have announced one with
    /// [`Response::ReplyAndClose`](crate::Response::ReplyAndClose). The line has no line end. What is not UTF-8 in it
    /// is replaced by U+FFFD, so that the block after such a line is found as well.
    fn block_len(line: &str) -> Option<u64>;
}

/// A line, and the block that it announces: a message of [`Blocks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing else")]
pub struct Block<'a> {
    /// The line, without its end.
    pub line: &'a str,
    /// The block, or `None` if the line announces none.
    pub block: Option<&'a [u8]>,
}

const END: &[u8] = b"\r\n";

impl<L: BlockLen> Framing for Blocks<L> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const DETECTION: Detection = Lines::DETECTION;

    fn set_side(&mut self, side: Side) {
        self.is_client = side == Side::Client;
    }

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if !self.terminator.is_empty() {
            return skip_terminator(&mut self.terminator, input, "`\\r\\n` after the block");
        }
        let (start, length) = if let Some(block) = self.block {
            block
        } else {
            let Some(line) = input.line(&mut self.searched)? else {
                return Ok(None);
            };
            let text = input.bytes().get(line.payload()).unwrap_or_default();
            // The framing finds a block after a line that is not UTF-8 as well: read as lines, the block would become
            // requests that nobody made.
            let Some(length) = L::block_len(&String::from_utf8_lossy(text)) else {
                return Ok(Some(line));
            };
            // A length that does not fit in 32 bits is too large for a machine of 32 bits.
            (
                line.consumed(),
                usize::try_from(length).unwrap_or(usize::MAX),
            )
        };
        self.block = None;
        let limit = input.limit();
        let Some(end) = start
            .checked_add(length)
            .filter(|end| *end < usize::MAX - END.len())
        else {
            return Err(FrameError::too_large(length, limit));
        };
        let consumed = end + END.len();
        if end > limit {
            let skipped = skip_or_reject(end, limit, end, input.ends_before(consumed))?;
            self.terminator = END;
            return Ok(skipped);
        }
        match input.bytes().get(end..consumed) {
            Some(END) => Ok(Some(ParsedFrame::message(0..end, consumed))),
            Some(_) => Err(FrameError::malformed(format_args!(
                "a block of {length} bytes without `\\r\\n` after it"
            ))),
            None => {
                self.block = Some((start, length));
                ParsedFrame::incomplete(input)
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        make_room(out, END.len())?;
        out.extend_from_slice(END);
        let framed = out.get(start..).unwrap_or_default();
        if self.is_client {
            let input = Input::new(framed, usize::MAX, Side::Server, ReadState::Idle);
            let parsed = Self::default().parse(input).ok().flatten();
            if parsed.is_none_or(|frame| frame.consumed() != framed.len()) {
                return Err(FrameError::unsendable(
                    "the message is not a line with the block that it announces",
                ));
            }
        }
        Ok(())
    }
}

impl<L> Default for Blocks<L> {
    fn default() -> Self {
        Self {
            searched: 0,
            block: None,
            terminator: b"",
            is_client: false,
            lengths: PhantomData,
        }
    }
}

impl<L> Clone for Blocks<L> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<L> fmt::Debug for Blocks<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks")
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}
