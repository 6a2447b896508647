//! Lines for people and old protocols: lenient when reading, strict when writing.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr2_iter, memmem};

use super::{
    Detection, FrameError, Framing, Input, Lines, ParsedFrame, Side, packed,
    telnet::{IAC, command_len},
    write::{make_room, write_lines},
};

/// Lines as telnet and most text protocols have them: any line end is read, and `\r\n` is written after every line
/// of a reply. For SMTP, POP3, NNTP, IRC, FTP and consoles.
///
/// A request is a line. It ends with `\n`, `\r\n` or telnet's `\r\0`, none of which is a part of it. Commands of telnet
/// (IAC negotiation) at the beginning of a line are skipped, and never answered. A message with `\r\0`, or with such a
/// command at the beginning of a line, is an error, unless the option [`NO_TELNET`] is set.
///
/// A reply may have many lines. Each `\n` in it is sent as `\r\n`, and the last line gets one as well. A client of
/// this library gets each line of such a reply as a message, and cannot send a message with a line feed. If the lines begin
/// with a code, as in SMTP, it gets a whole reply with [`Duplex<CrlfText, CodeLines>`](super::CodeLines).
///
/// The parameter has the options, which `|` combines:
///
/// - [`prompt(b"> ")`](prompt) is sent after each reply. A client of this library would take it for the beginning of the
///   next reply.
/// - [`DOT_END`] is for POP3, NNTP and Gopher. It ends each reply that has a line feed with a line of a single dot, and
///   puts a dot before each line that begins with one.
/// - [`NO_TELNET`] is for protocols that never run over telnet, such as SMTP, POP3 and NNTP. A line ends with `\n` or
///   `\r\n`, and all other bytes are a part of it.
///
/// A function that takes the framing (`#[framing] framing: &mut CrlfText`) can read a text in place of a line, as in
/// SMTP's `DATA`: [`read_text`](Self::read_text).
///
/// A last line without its end is rejected and never executed.
///
/// # Examples
///
/// ```
/// use tcs::{ConcurrentServer, Peer, framing::{CrlfText, prompt}, server_protocol};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// #[server_protocol(framing = CrlfText<{ prompt(b"> ") }>, greeting = "hello")]
/// fn console(command: &str) -> &str {
///     match command {
///         "list" => "one\ntwo",
///         _ => "unknown",
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut near, far) = tokio::io::duplex(1024);
/// let server = tokio::spawn(ConcurrentServer::new(Console).serve_stream(far, Peer::unnamed()));
/// near.write_all(b"list\r\nhelp\n").await?;
/// near.shutdown().await?;
/// let mut replies = String::new();
/// near.read_to_string(&mut replies).await?;
/// assert_eq!(replies, "hello\r\n> one\r\ntwo\r\n> unknown\r\n> ");
/// # drop(near);
/// # assert_eq!(server.await??.requests.served, 2);
/// # Ok(())
/// # }
/// ```
///
/// The parameter is made of options, so this does not compile:
///
/// ```compile_fail,E0080
/// let stream = tokio::io::empty();
/// let connection = tcs::Connection::<tcs::framing::CrlfText<7>>::over(stream);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CrlfText<const OPTIONS: u128 = 0> {
    searched: usize,
    /// Whether the next message ends with a line of a single dot.
    reads_text: bool,
    /// Whether the last parsed message ended with such a line.
    is_text: bool,
    /// Whether a client uses this framing.
    is_client: bool,
}

/// An option of [`CrlfText`]: ends each reply that has a line feed with a line of a single dot.
pub const DOT_END: u128 = 1 << 127;

/// An option of [`CrlfText`]: bytes have no meaning of telnet.
pub const NO_TELNET: u128 = 1 << 126;

/// Packs a prompt of 1 to 15 bytes into a number, for [`CrlfText`].
///
/// # Panics
///
/// Panics if `bytes` is empty or longer than 15 bytes; at compile time, if used in a type.
#[must_use]
#[track_caller]
pub const fn prompt(bytes: &[u8]) -> u128 {
    assert!(
        !bytes.is_empty(),
        "a prompt has at least one byte: write `prompt(b\"> \")`"
    );
    assert!(
        bytes.len() <= packed::MAX_LEN,
        "a prompt has at most 15 bytes"
    );
    packed::pack(bytes)
}

/// The error for a message that a reader of telnet would not read as sent.
const TELNET: &str =
    "a line of the message begins as a command of telnet, or contains its line end";

/// The end of a text.
const TEXT_END: &[u8] = b"\r\n.\r\n";

impl<const OPTIONS: u128> CrlfText<OPTIONS> {
    const PROMPT: u128 = OPTIONS & !(DOT_END | NO_TELNET);
    const HAS_TELNET: bool = OPTIONS & NO_TELNET == 0;

    /// Reads a text as the next message, in place of a line. The text ends with a line of a single dot: `\r\n.\r\n`.
    /// The function recognizes a text by [`is_text`](Self::is_text).
    ///
    /// The message ends with the line end before the dot. [`unstuffed`] removes the dots that the sender has put before
    /// other lines. After the text, messages are lines again.
    ///
    /// Only `\r\n` counts as a line end here. If one server took `\n.\n` for the end and another did not, a peer could
    /// smuggle mail past the first.
    ///
    /// Mail may contain any bytes. Without [`NO_TELNET`], a text with telnet's commands or line ends ends the
    /// connection.
    pub const fn read_text(&mut self) {
        self.reads_text = true;
    }

    /// Returns `true` if the message that was read last is a [text](Self::read_text) and not a line.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.is_text
    }

    fn parse_text(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        // An empty text has no line end before its dot, so the search would go past it.
        let parsed = if input.bytes().starts_with(b".\r\n") {
            ParsedFrame::message(0..0, 3)
        } else {
            let Some(end) = input.find(TEXT_END, &mut self.searched)? else {
                return Ok(None);
            };
            let end = end + 2;
            if end > input.limit() {
                return Err(FrameError::too_large(end, input.limit()));
            }
            // This framing could not write such a text.
            if Self::HAS_TELNET && is_telnet(input.bytes().get(..end).unwrap_or_default()) {
                return Err(FrameError::malformed(TELNET));
            }
            ParsedFrame::message(0..end, end + 3)
        };
        self.reads_text = false;
        self.is_text = true;
        Ok(Some(parsed))
    }
}

impl<const OPTIONS: u128> Framing for CrlfText<OPTIONS> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const DETECTION: Detection = Lines::DETECTION;
    const PARAMETER_ERROR: Option<&'static str> =
        if Self::PROMPT == 0 || packed::is_packed(Self::PROMPT) {
            None
        } else {
            Some("this number has no options: write `CrlfText<{ prompt(b\"> \") | DOT_END }>`")
        };

    fn set_side(&mut self, side: Side) {
        self.is_client = side == Side::Client;
    }

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if self.reads_text {
            return self.parse_text(input);
        }
        self.is_text = false;
        if !Self::HAS_TELNET {
            return input.line(&mut self.searched);
        }
        if is_command(input.bytes()) {
            return match command_len(input.bytes())? {
                Some(length) => Ok(Some(ParsedFrame::skip(length))),
                None => ParsedFrame::incomplete(input),
            };
        }
        let unread = input.bytes().get(self.searched..).unwrap_or_default();
        let line_end = first_line_end(unread, memchr2_iter(b'\n', b'\r', unread));
        if let Some(at) = line_end.filter(|at| unread.get(*at) == Some(&b'\r')) {
            let end = self.searched + at;
            if end > input.limit() {
                return Err(FrameError::too_large(end, input.limit()));
            }
            self.searched = 0;
            return Ok(Some(ParsedFrame::message(0..end, end + 2)));
        }
        let line = input.line(&mut self.searched)?;
        if line.is_none() && input.bytes().ends_with(b"\r") {
            // The zero byte may follow.
            self.searched -= 1;
        }
        Ok(line)
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let text = out.get(start..).unwrap_or_default();
        let has_line_feed = memchr(b'\n', text).is_some();
        // A line feed from a client would begin another request: attackers smuggle commands like that.
        if self.is_client && has_line_feed {
            return Err(FrameError::unsendable(
                "the message contains a line feed, which would end it early",
            ));
        }
        // A reader of telnet would see another message.
        if Self::HAS_TELNET && is_telnet(text) {
            return Err(FrameError::unsendable(TELNET));
        }
        let has_dot_end = has_line_feed && OPTIONS & DOT_END != 0;
        if has_line_feed {
            write_lines(out, start, has_dot_end)?;
        }
        // The prompt has at most 15 bytes.
        make_room(out, b"\r\n.\r\n".len() + size_of_val(&Self::PROMPT))?;
        if !has_line_feed {
            out.extend_from_slice(b"\r\n");
        }
        if has_dot_end {
            out.extend_from_slice(b".\r\n");
        }
        if !self.is_client {
            out.extend_from_slice(packed::unpacked(const { &Self::PROMPT.to_be_bytes() }));
        }
        Ok(())
    }
}

/// Returns `true` if a line begins with a command of telnet. IAC twice stands for that byte in a text.
fn is_command(line: &[u8]) -> bool {
    line.first() == Some(&IAC) && line.get(1) != Some(&IAC)
}

/// Returns `true` if a line of this text begins with a command of telnet, or contains its line end.
fn is_telnet(text: &[u8]) -> bool {
    // Hardly any text has one of these bytes.
    if memchr2(IAC, 0, text).is_none() {
        return false;
    }
    let mut line_ends = memmem::find_iter(text, b"\n\xff");
    is_command(text)
        || line_ends.any(|at| is_command(text.get(at + 1..).unwrap_or_default()))
        || memmem::find(text, b"\r\0").is_some()
}

/// Returns the first of these places at which a line ends with `\n` or `\r\0`. The search stops there, so that many
/// lines that arrive together are not searched again and again.
fn first_line_end(bytes: &[u8], mut places: impl Iterator<Item = usize>) -> Option<usize> {
    places.find(|at| matches!(bytes.get(*at..), Some([b'\n', ..] | [b'\r', 0, ..])))
}

/// Removes the dot that a sender has put before each line that begins with one, from a text of
/// [`CrlfText::read_text`].
///
/// # Examples
///
/// ```
/// use tcs::framing::unstuffed;
///
/// assert_eq!(unstuffed("one\r\n..two\r\n"), "one\r\n.two\r\n");
/// ```
#[must_use]
pub fn unstuffed(text: &str) -> Cow<'_, str> {
    let rest = text.strip_prefix('.').unwrap_or(text);
    if rest.contains("\r\n.") {
        Cow::Owned(rest.replace("\r\n.", "\r\n"))
    } else {
        Cow::Borrowed(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{FrameKind, ReadState};

    /// Asserts that what a server reads in `stream` can be sent again. A line is then read as the same.
    fn assert_sendable<const OPTIONS: u128>(framing: CrlfText<OPTIONS>, mut stream: &[u8]) {
        let mut server = framing;
        let (mut client, mut out) = (CrlfText::<OPTIONS>::default(), Vec::new());
        client.set_side(Side::Client);
        let read = |framing: &mut CrlfText<OPTIONS>, bytes: &[u8]| {
            let parsed = framing.parse(Input::new(bytes, 99, Side::Server, ReadState::Idle));
            parsed.ok().flatten()
        };
        while let Some(frame) = read(&mut server, stream) {
            let (bytes, rest) = stream.split_at(frame.consumed());
            let message = &bytes[frame.payload()];
            out.clear();
            out.extend_from_slice(message);
            if server.is_text() {
                assert_eq!(server.finish(&mut out, 0), Ok(()), "{message:?}");
            } else if frame.kind() == FrameKind::Message {
                assert_eq!(client.finish(&mut out, 0), Ok(()), "{message:?}");
                let again = read(&mut CrlfText::default(), &out).expect("a line");
                assert_eq!(&out[again.payload()], message);
                assert_eq!(again.consumed(), out.len());
            }
            stream = rest;
        }
    }

    #[test]
    fn what_is_read_can_be_sent() {
        let bytes = [0xff, 0xfd, b'\r', b'\n', 0, b'a'];
        for number in 0..6_usize.pow(5) {
            let stream: Vec<u8> = (0..5)
                .map(|at| bytes[number / 6_usize.pow(at) % 6])
                .collect();
            let lines = [&stream[..], b"\n"].concat();
            assert_sendable(CrlfText::<0>::default(), &lines);
            assert_sendable(CrlfText::<NO_TELNET>::default(), &lines);
            let text = [&stream[..], TEXT_END].concat();
            let mut framing = CrlfText::<0>::default();
            framing.read_text();
            assert_sendable(framing, &text);
            let mut framing = CrlfText::<NO_TELNET>::default();
            framing.read_text();
            assert_sendable(framing, &text);
        }
    }

    #[test]
    fn text_is_told_from_the_lines_around_it() {
        let mut framing = CrlfText::<NO_TELNET>::default();
        let mut are_texts = Vec::new();
        let mut stream = &b"DATA\r\n\xff\xfda\r\0\r\n.\r\nQUIT\r\n"[..];
        while let Ok(Some(frame)) =
            framing.parse(Input::new(stream, 99, Side::Server, ReadState::Idle))
        {
            are_texts.push((framing.is_text(), &stream[frame.payload()]));
            if stream.starts_with(b"DATA") {
                framing.read_text();
            }
            stream = &stream[frame.consumed()..];
        }
        let expected: [(bool, &[u8]); 3] = [
            (false, b"DATA"),
            (true, b"\xff\xfda\r\0\r\n"),
            (false, b"QUIT"),
        ];
        assert_eq!(are_texts, expected);
    }

    #[test]
    fn search_ends_with_the_line() {
        let lines = b"a\rb\r\n".repeat(1_000);
        let mut looked_at = 0;
        let places = memchr2_iter(b'\n', b'\r', &lines).inspect(|_| looked_at += 1);
        assert_eq!(first_line_end(&lines, places), Some(4));
        assert_eq!(looked_at, 3);
    }

    #[test]
    fn no_byte_is_searched_twice() {
        for piece in [&b"xyz"[..], b"\r", b"x\r"] {
            let mut framing = CrlfText::<0>::default();
            let bytes = piece.repeat(100);
            for end in 1..=bytes.len() {
                let arrived = bytes.get(..end).expect("it is within");
                let input = Input::new(arrived, 1_000, Side::Server, ReadState::Idle);
                assert_eq!(framing.parse(input), Ok(None));
                // A zero byte may follow the last one.
                let open = usize::from(arrived.ends_with(b"\r"));
                assert_eq!(framing.searched, end - open);
            }
        }
    }
}
