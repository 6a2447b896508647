//! A line for each message.

use super::{
    FrameError, Framing, ParsedFrame, Unparsed,
    contact::{Contact, Unit},
    find::find_byte,
};

/// Text up to a line feed: what `nc`, telnet and many existing protocols speak.
///
/// A carriage return before the line feed is dropped; `\n` is written. A message that contains a
/// line feed, or ends with a carriage return, cannot be sent. There are no control frames: the text
/// of a function's error is sent as the reply, and after any other refusal the connection closes,
/// unless the protocol words them (`refuse = …`). A last line without its line feed is refused and
/// never executed, because it may be half of one. A peer that begins with a length is answered with
/// a control frame; nothing is executed.
///
/// Where each line must end with `\r\n`, use [`CrlfLines`](super::CrlfLines).
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
    /// How many bytes at the start of the input are known to hold no line feed.
    searched: usize,
    contact: Contact,
}

/// What a line has to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// A line feed, whatever stands before it.
    LineFeed,
    /// Both, and nothing else.
    CrLf,
}

impl Lines {
    /// Cuts a line that ends so.
    #[inline]
    pub(super) fn cut_line(
        &mut self,
        input: Unparsed<'_>,
        end: LineEnd,
    ) -> Result<Option<ParsedFrame>, FrameError> {
        let Self { searched, contact } = self;
        contact.parse(input, Unit::Line, |input| next(searched, input, end))
    }
}

impl Framing for Lines {
    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.cut_line(input, LineEnd::LineFeed)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        refuse_line_feed(out, start)?;
        if out.get(start..).is_some_and(|line| line.ends_with(b"\r")) {
            return Err(carriage_return());
        }
        out.push(b'\n');
        Ok(())
    }
}

#[inline]
fn next(
    searched: &mut usize,
    input: Unparsed<'_>,
    end: LineEnd,
) -> Result<Option<ParsedFrame>, FrameError> {
    let bytes = input.bytes();
    let unread = bytes.get(*searched..).unwrap_or_default();
    let line_feed = find_byte(unread, b'\n').map(|at| *searched + at);
    let known = bytes
        .get(..line_feed.unwrap_or(bytes.len()))
        .unwrap_or(bytes);
    let line = match known.strip_suffix(b"\r") {
        Some(line) => line,
        None if end == LineEnd::CrLf && line_feed.is_some() => return Err(line_feed_alone()),
        None => known,
    };
    if line.len() > input.limit() {
        return Err(FrameError::too_large(line.len(), input.limit()));
    }
    let Some(line_feed) = line_feed else {
        *searched = bytes.len();
        return input.unfinished();
    };
    *searched = 0;
    Ok(Some(ParsedFrame::message(0..line.len(), line_feed + 1)))
}

#[cold]
fn line_feed_alone() -> FrameError {
    FrameError::malformed("a line that ends with `\\n` alone; here a line ends with `\\r\\n`")
}

#[cold]
fn carriage_return() -> FrameError {
    FrameError::unsendable("the message ends with a carriage return, which a reader would drop")
}

/// Refuses to send a message that is more than one line.
pub(super) fn refuse_line_feed(out: &[u8], start: usize) -> Result<(), FrameError> {
    if find_byte(out.get(start..).unwrap_or_default(), b'\n').is_some() {
        return Err(FrameError::unsendable(
            "the message contains a line feed, which would end it early",
        ));
    }
    Ok(())
}
