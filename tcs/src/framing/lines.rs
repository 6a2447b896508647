//! Messages that are lines of text.

use memchr::memchr;

use super::{
    Detection, FrameError, Framing, Input, ParsedFrame, Side, other_protocol::EXPECTS_LINES,
    write::make_room,
};

/// Text up to a line feed, as in `nc`, telnet and many existing protocols.
///
/// A carriage return before the line feed is dropped when reading. `\n` is written, or `\r\n` after a message that ends
/// with a carriage return. A message that contains a line feed cannot be sent. A last line without its line feed is
/// rejected, because it may be incomplete.
///
/// There are no control frames: the text of a function's error is sent as the reply, and after any other rejection the
/// connection closes, unless you set `reject_with`. A peer that begins with a length gets a control frame as the
/// answer, and the server executes nothing.
///
/// If each line must end with `\r\n`, use [`CrlfLines`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Lines, server_protocol};
///
/// #[server_protocol(framing = Lines)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `Ann\n` is sent, and `Hello, Ann!\n` received.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// The number of bytes at the start of the input that contain no line feed.
    searched: usize,
}

/// Text up to `\r\n`, as SMTP, FTP, IRC and most Internet protocols prescribe.
///
/// A `\n` without a `\r` before it is a protocol error, and closes the connection. Otherwise, a peer could smuggle
/// requests past a proxy that reads line ends differently. A `\r` without a `\n` after it is an ordinary byte. A
/// message that contains `\n` cannot be sent. As with [`Lines`], a last line without its end is rejected.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::CrlfLines, server_protocol};
///
/// #[server_protocol(framing = CrlfLines)]
/// fn command(line: &str) -> &str {
///     match line {
///         "NOOP" => "250 OK",
///         _ => "500 unknown",
///     }
/// }
///
/// let server = ConcurrentServer::new(Command).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Command>("NOOP").await?, "250 OK");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CrlfLines {
    lines: Lines,
}

impl Framing for Lines {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const DETECTION: Detection = Detection {
        frames_are_lines: true,
        reject_foreign_start: reject_length,
        ..Detection::ON
    };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        input.line(&mut self.searched)
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        // A reader drops one carriage return before the line feed. If the message ends with one, the reader drops this
        // other one.
        let ends_with_one = out.get(start..).is_some_and(|line| line.ends_with(b"\r"));
        let end: &[u8] = if ends_with_one { b"\r\n" } else { b"\n" };
        finish_line(out, start, end)
    }
}

impl Framing for CrlfLines {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const DETECTION: Detection = Lines::DETECTION;

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match self.lines.parse(input)? {
            Some(line) if line.payload.end + b"\r\n".len() > line.consumed => {
                let text = "a line that ends with `\\n` alone; here a line ends with `\\r\\n`";
                Err(FrameError::malformed(text))
            }
            line => Ok(line),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        finish_line(out, start, b"\r\n")
    }
}

/// Rejects a length in place of the first line: text has no zero byte, and the length of a message
/// below 16 MiB begins with one.
fn reject_length(input: Input<'_>) -> Result<(), FrameError> {
    if input.side() == Side::Server && input.bytes().starts_with(&[0]) {
        return Err(FrameError::with_answer(
            Some(EXPECTS_LINES),
            &"that looks like length-prefixed frames, and this port expects lines of text",
        ));
    }
    Ok(())
}

/// Appends the end of a line, unless the line contains one.
fn finish_line(out: &mut Vec<u8>, start: usize, end: &[u8]) -> Result<(), FrameError> {
    if memchr(b'\n', out.get(start..).unwrap_or_default()).is_some() {
        return Err(FrameError::unsendable(
            "the message contains a line feed, which would end it early",
        ));
    }
    make_room(out, end.len())?;
    out.extend_from_slice(end);
    Ok(())
}
