//! Messages that are lines of text.

use memchr::memchr;

use super::{
    Framing,
    parse::{Detection, FrameError, ParsedFrame, Unparsed},
};

/// Text up to a line feed, as in `nc`, telnet and many existing protocols.
///
/// A carriage return before the line feed is dropped when reading. `\n` is written. A message that
/// contains a line feed, or ends with a carriage return, cannot be sent. There are no control
/// frames: the text of a function's error is sent as the reply, and after any other rejection the
/// connection closes, unless the protocol encodes rejections itself (`reject_with = …`). A last line
/// without its line feed is rejected and never executed, because it may be half of one. A peer that
/// begins with a length is answered with a control frame, and nothing is executed.
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
/// A `\n` without a `\r` before it is a protocol error, and nothing from it on is executed. If one
/// end took it for a line end and the other did not, a peer could smuggle requests past any program
/// between them. A `\r` without a `\n` after it is an ordinary byte. A message that contains `\n`
/// cannot be sent. The rest is as with [`Lines`]: there are no control frames, and a last line
/// without its end is rejected.
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
    /// The number of bytes at the start of the input that contain no line feed.
    searched: usize,
}

impl Framing for Lines {
    const DETECTION: Detection = Detection::Lines;

    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let line = next_line(input, &mut self.searched)?;
        Ok(line.map(|(length, end)| ParsedFrame::message(0..length, end)))
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        check_is_one_line(out, start)?;
        if out.get(start..).is_some_and(|line| line.ends_with(b"\r")) {
            return Err(FrameError::unsendable(
                "the message ends with a carriage return, which a reader would drop",
            ));
        }
        out.push(b'\n');
        Ok(())
    }
}

impl Framing for CrlfLines {
    const DETECTION: Detection = Detection::Lines;

    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match next_line(input, &mut self.searched)? {
            Some((length, end)) if length + b"\r\n".len() > end => Err(line_feed_alone()),
            line => Ok(line.map(|(length, end)| ParsedFrame::message(0..length, end))),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        check_is_one_line(out, start)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Returns the length of the text before the next line feed, without a carriage return at its end,
/// and the position after the line feed.
///
/// Begins after `searched` bytes, and keeps their number there, so that each byte is searched once.
#[inline]
fn next_line(
    input: Unparsed<'_>,
    searched: &mut usize,
) -> Result<Option<(usize, usize)>, FrameError> {
    let bytes = input.bytes();
    let unread = bytes.get(*searched..).unwrap_or_default();
    let line_feed = memchr(b'\n', unread).map(|at| *searched + at);
    let end = line_feed.unwrap_or(bytes.len());
    let known = bytes.get(..end).unwrap_or(bytes);
    let line = known.strip_suffix(b"\r").unwrap_or(known);
    if line.len() > input.limit() {
        return Err(FrameError::too_large(line.len(), input.limit()));
    }
    let Some(line_feed) = line_feed else {
        *searched = bytes.len();
        return input.unfinished().map(|_| None);
    };
    *searched = 0;
    Ok(Some((line.len(), line_feed + 1)))
}

#[cold]
fn line_feed_alone() -> FrameError {
    FrameError::malformed("a line that ends with `\\n` alone; here a line ends with `\\r\\n`")
}

fn check_is_one_line(out: &[u8], start: usize) -> Result<(), FrameError> {
    if memchr(b'\n', out.get(start..).unwrap_or_default()).is_some() {
        return Err(FrameError::unsendable(
            "the message contains a line feed, which would end it early",
        ));
    }
    Ok(())
}
