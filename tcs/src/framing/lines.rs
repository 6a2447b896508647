//! Messages that are lines of text.

use memchr::memchr;

use super::{
    Framing,
    parse::{FrameError, Granularity, ParsedFrame, Unparsed},
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
/// use tcs::{ConcurrentServer, Connection, Lines, server_protocol};
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
    search: LineSearch,
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
/// use tcs::{ConcurrentServer, Connection, CrlfLines, server_protocol};
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
    search: LineSearch,
}

impl Framing for Lines {
    const GRANULARITY: Granularity = Granularity::Lines;

    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.search.next_line(input, LineEnd::LineFeed)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        reject_line_feed(out, start)?;
        if out.get(start..).is_some_and(|line| line.ends_with(b"\r")) {
            return Err(carriage_return());
        }
        out.push(b'\n');
        Ok(())
    }
}

impl Framing for CrlfLines {
    const GRANULARITY: Granularity = Granularity::Lines;

    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.search.next_line(input, LineEnd::CrLf)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        reject_line_feed(out, start)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// The end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    /// A line feed, with or without a carriage return before it.
    LineFeed,
    /// A carriage return and a line feed, and nothing else.
    CrLf,
}

/// A search for the next line end. It scans each byte once.
#[derive(Clone, Copy, Debug, Default)]
struct LineSearch {
    /// The number of bytes at the start of the input that contain no line feed.
    searched: usize,
}

impl LineSearch {
    #[inline]
    fn next_line(
        &mut self,
        input: Unparsed<'_>,
        end: LineEnd,
    ) -> Result<Option<ParsedFrame>, FrameError> {
        let Self { searched } = self;
        let bytes = input.bytes();
        let unread = bytes.get(*searched..).unwrap_or_default();
        let line_feed = memchr(b'\n', unread).map(|at| *searched + at);
        let known = bytes
            .get(..line_feed.unwrap_or(bytes.len()))
            .unwrap_or(bytes);
        let line = known.strip_suffix(b"\r").unwrap_or(known);
        if line.len() > input.limit() {
            return Err(FrameError::too_large(line.len(), input.limit()));
        }
        let Some(line_feed) = line_feed else {
            *searched = bytes.len();
            return input.unfinished();
        };
        if end == LineEnd::CrLf && line.len() == line_feed {
            return Err(line_feed_alone());
        }
        *searched = 0;
        Ok(Some(ParsedFrame::message(0..line.len(), line_feed + 1)))
    }
}

#[cold]
fn line_feed_alone() -> FrameError {
    FrameError::malformed("a line that ends with `\\n` alone; here a line ends with `\\r\\n`")
}

#[cold]
fn carriage_return() -> FrameError {
    FrameError::unsendable("the message ends with a carriage return, which a reader would drop")
}

/// Returns an error if a message is more than one line.
fn reject_line_feed(out: &[u8], start: usize) -> Result<(), FrameError> {
    if memchr(b'\n', out.get(start..).unwrap_or_default()).is_some() {
        return Err(FrameError::unsendable(
            "the message contains a line feed, which would end it early",
        ));
    }
    Ok(())
}
