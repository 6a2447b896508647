//! Replies of lines that begin with a code.

use memchr::memchr;

use super::{
    Detection, FrameError, Framing, Input, Lines, ParsedFrame, ReadState, Side, write::write_lines,
};

/// Replies of lines that begin with a code of three digits, as a client of SMTP or FTP gets them.
///
/// `250 done` is a reply of one line. In a longer one, the first line has a `-` after its code, and the reply ends with
/// the next line that has the same code and no `-`:
///
/// ```text
/// 250-mail.example
/// 250-PIPELINING
/// 250 STARTTLS
/// ```
///
/// The message is the whole reply, with the codes and the line ends between its lines: `str::lines` splits it. It has at
/// most `max_frame_len` bytes. A line ends with `\n` or `\r\n`, and `\r\n` is written after every line of a reply.
/// A server cannot send a reply that a client would not read as exactly one reply.
///
/// Use this framing for the replies of a [`Duplex`](super::Duplex), whose requests are mostly lines of
/// [`CrlfText`](super::CrlfText).
///
/// There are no control frames: the text of a function's error is sent as the reply, and after any other rejection the
/// connection closes, unless the protocol has a function for rejections (`reject_with = …`).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{
///     ConcurrentServer, Connection, framing::{CodeLines, CrlfText, Duplex}, server_protocol,
/// };
///
/// #[server_protocol(framing = Duplex<CrlfText, CodeLines>)]
/// fn smtp(command: &str) -> &str {
///     match command {
///         "EHLO me" => "250-mail.example\n250 PIPELINING",
///         _ => "500 unknown",
///     }
/// }
///
/// let server = ConcurrentServer::new(Smtp).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// let reply = connection.call::<Smtp>("EHLO me").await?;
/// assert!(reply.lines().eq(["250-mail.example", "250 PIPELINING"]));
/// assert_eq!(connection.call::<Smtp>("HELP").await?, "500 unknown");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeLines {
    /// The start of the first line whose end has not arrived.
    line: usize,
    /// The number of bytes of this line that contain no line feed.
    searched: usize,
}

/// The length of a code.
const CODE_LEN: usize = 3;

impl Framing for CodeLines {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const DETECTION: Detection = Lines::DETECTION;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let code = code_of(input.bytes())?;
        loop {
            let line = input.bytes().get(self.line..).unwrap_or_default();
            let unread = line.get(self.searched..).unwrap_or_default();
            let length = memchr(b'\n', unread).map(|at| self.searched + at);
            let text = line.get(..length.unwrap_or(line.len())).unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let end = self.line + text.len();
            if end > input.limit() {
                return Err(FrameError::too_large(end, input.limit()));
            }
            let Some(length) = length else {
                self.searched = line.len();
                return ParsedFrame::incomplete(input);
            };
            let next = self.line + length + 1;
            if let Some([] | [b' ', ..]) = text.strip_prefix(code) {
                *self = Self::default();
                return Ok(Some(ParsedFrame::message(0..end, next)));
            }
            (self.line, self.searched) = (next, 0);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        write_lines(out, start, false)?;
        let written = out.get(start..).unwrap_or_default();
        let input = Input::new(written, usize::MAX, Side::Client, ReadState::Idle);
        match Self::default().parse(input) {
            Ok(Some(reply)) if reply.consumed() == written.len() => Ok(()),
            _ => Err(FrameError::unsendable(
                "the message is not one reply of lines with a code",
            )),
        }
    }
}

/// Returns the code of the first line, or as much of it as has arrived.
fn code_of(bytes: &[u8]) -> Result<&[u8], FrameError> {
    let (code, rest) = bytes.split_at(bytes.len().min(CODE_LEN));
    let is_code = code.iter().all(u8::is_ascii_digit);
    match rest {
        [] | [b' ' | b'-' | b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] if is_code => Ok(code),
        _ => Err(FrameError::malformed(
            "a line that does not begin with a code of three digits",
        )),
    }
}
