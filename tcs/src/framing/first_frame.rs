//! The first frame of a connection, and the detection of other protocols in it.

use std::{any::Any, mem};

use super::{
    Framing,
    length_prefixed::HEADER,
    other_protocol::{Notice, OtherProtocol},
    parse::{
        FrameError, FrameKind, Granularity, ParsedFrame, ReadState, Side, Unparsed, too_large,
    },
    signatures::{Sniff, is_http_request_line, is_telling, of_server, of_text},
};
use crate::Rejection;

/// Any framing, with detection of other protocols in the first bytes of a connection.
///
/// A server delivers the first frame only once the bytes cannot be another protocol. The frame's own
/// bytes decide if they can, and otherwise the bytes after it. The decision is a
/// function of the bytes alone. It does not depend on how the network, or an attacker, split them
/// into reads.
///
/// At a client, what a server of this library says to a peer of another framing is an error, and an
/// error about the first bytes names the protocol that the server seems to speak.
///
/// After the first frame, all of this costs one branch.
#[derive(Debug)]
pub struct FirstFrame<F> {
    framing: F,
    stage: Stage,
}

type Parsed = Result<Option<ParsedFrame>, FrameError>;

/// The result of a framing other than an incomplete frame.
type Found = Result<ParsedFrame, FrameError>;

/// The progress of a connection.
#[derive(Debug)]
enum Stage {
    /// The first frame is not complete.
    Incomplete,
    /// The framing has returned this, and more bytes decide whether it counts.
    ///
    /// It is kept, because a framing may change its state with each frame, and so never parses the
    /// same frame twice, unless its result depends on the bytes alone (`LengthPrefixed`). It is boxed, because it is rare, and each idle connection has room for it.
    Held(Box<Found>),
    /// Detection is over.
    Past,
}

/// The decision about a framing's result.
enum Verdict {
    /// The result counts, and detection is over.
    Final(Parsed),
    /// No frame is complete, and more bytes can show another protocol.
    Incomplete,
    /// More bytes decide.
    Hold(Found),
}

impl<F: Framing> FirstFrame<F> {
    /// Creates the framing of a new connection.
    pub const fn new(framing: F) -> Self {
        Self {
            framing,
            stage: Stage::Incomplete,
        }
    }

    /// Appends the answer to a peer whose bytes are not a frame, in a protocol that the peer
    /// understands.
    ///
    /// Returns `true` if an answer was appended.
    pub fn answer_error(&mut self, out: &mut Vec<u8>, error: &FrameError) -> bool {
        error.notice.is_some_and(|notice| notice.write(out))
            || self.framing.reject(out, &error.rejection())
    }

    /// Parses the first frame.
    ///
    /// Takes the parts of the input: a whole one would have to be put into memory for this call,
    /// even where the call does not happen.
    #[cold]
    #[inline(never)]
    fn first(&mut self, bytes: &[u8], limit: usize, side: Side, read_state: ReadState) -> Parsed {
        let input = Unparsed::new(bytes, limit, side, read_state);
        let parsed = match mem::replace(&mut self.stage, Stage::Incomplete) {
            Stage::Held(found) => found.map(Some),
            Stage::Incomplete | Stage::Past => self.framing.parse(input),
        };
        let verdict = if F::DETECTS_OTHER_PROTOCOLS {
            judge(input, F::GRANULARITY, parsed)
        } else {
            judge_opted_out(input, parsed)
        };
        match verdict {
            Verdict::Final(parsed) => {
                self.stage = Stage::Past;
                parsed
            }
            Verdict::Incomplete => Ok(None),
            Verdict::Hold(found) => {
                self.stage = Stage::Held(Box::new(found));
                Ok(None)
            }
        }
    }
}

impl<F: Framing> Default for FirstFrame<F> {
    fn default() -> Self {
        Self::new(F::default())
    }
}

impl<F: Framing> Framing for FirstFrame<F> {
    const PERSISTENT: bool = F::PERSISTENT;
    const HALF_CLOSE: bool = F::HALF_CLOSE;
    const MIN_FRAME_LEN: usize = F::MIN_FRAME_LEN;
    const PARAMETER_ERROR: Option<&'static str> = F::PARAMETER_ERROR;
    const HAS_REJECTION_FRAME: bool = F::HAS_REJECTION_FRAME;
    const DETECTS_OTHER_PROTOCOLS: bool = F::DETECTS_OTHER_PROTOCOLS;
    const TYPED: bool = F::TYPED;
    const GRANULARITY: Granularity = F::GRANULARITY;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs a fifth of a small request"
    )]
    fn parse(&mut self, input: Unparsed<'_>) -> Parsed {
        if !matches!(self.stage, Stage::Past) {
            let (bytes, limit) = (input.bytes(), input.limit());
            let first = self.first(bytes, limit, input.side(), input.read_state())?;
            // The result of this framing depends on the bytes alone, so it can parse a message
            // again. The compiler then sees that no message comes from a call, and keeps the parts
            // of a message in registers. This saves an eighth of the instructions of a small
            // request.
            let finds_again = matches!(F::GRANULARITY, Granularity::LengthPrefixed);
            match first {
                Some(frame) if finds_again && frame.kind == FrameKind::Message => {}
                first => return Ok(first),
            }
        }
        self.framing.parse(input)
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.framing.begin(out);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.framing.finish(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        self.framing.reject(out, rejection)
    }

    #[inline]
    fn take_value(&mut self) -> Option<Box<dyn Any + Send>> {
        self.framing.take_value()
    }

    #[inline]
    fn encoder(&mut self) -> Option<&mut (dyn Any + Send + 'static)> {
        self.framing.encoder()
    }
}

// The code below depends on no framing. It is compiled with this library, not with each program.

/// Decides about the result of a framing that opts out of detection.
fn judge_opted_out(input: Unparsed<'_>, parsed: Parsed) -> Verdict {
    if input.side() == Side::Server {
        return Verdict::Final(parsed);
    }
    match Notice::of_server(input.bytes()) {
        Some(notice) if notice.is_about_framing() => notice_verdict(notice),
        _ if matches!(parsed, Ok(None)) => Verdict::Incomplete,
        _ => Verdict::Final(parsed),
    }
}

/// Decides about a framing's result for the first bytes of a connection.
fn judge(input: Unparsed<'_>, granularity: Granularity, parsed: Parsed) -> Verdict {
    if let Err(error) = check_first_bytes(input, granularity) {
        let parsed = match input.side() {
            Side::Server => Err(error),
            Side::Client => name_protocol(input, Err(error)),
        };
        return Verdict::Final(parsed);
    }
    if input.side() == Side::Client
        // In this framing, that one is a control frame, and no text is taken for a frame.
        && granularity != Granularity::LengthPrefixed
        && let Some(notice) = Notice::of_server(input.bytes())
    {
        return notice_verdict(notice);
    }
    match (input.side(), parsed) {
        (Side::Server, Ok(None)) => incomplete(input, granularity),
        (Side::Server, Ok(Some(frame))) if frame.kind != FrameKind::TooLarge => {
            complete(input, granularity, frame)
        }
        (Side::Server, Ok(Some(frame))) => hold_if_unsure(input, Ok(frame)),
        (Side::Server, Err(error)) => hold_if_unsure(input, Err(error)),
        (Side::Client, Ok(None)) => Verdict::Incomplete,
        (Side::Client, parsed) => Verdict::Final(name_protocol(input, parsed)),
    }
}

/// Decides about bytes that are not a complete frame.
fn incomplete(input: Unparsed<'_>, granularity: Granularity) -> Verdict {
    match Sniff::of(input.bytes()) {
        Sniff::Clear(protocol) => other_protocol_verdict(protocol),
        // A line can be long text. Its end shows whether it is a request line.
        Sniff::LongPath if granularity != Granularity::Lines => {
            other_protocol_verdict(OtherProtocol::Http)
        }
        // Fewer than four bytes can still be text in place of a length.
        Sniff::None
            if granularity != Granularity::LengthPrefixed || input.bytes().len() >= HEADER =>
        {
            Verdict::Final(Ok(None))
        }
        _ => Verdict::Incomplete,
    }
}

/// Decides about a complete frame, by its own bytes if they suffice.
///
/// The bytes after it may count only if the connection is certain to wait for them.
fn complete(input: Unparsed<'_>, granularity: Granularity, frame: ParsedFrame) -> Verdict {
    let bytes = input.bytes();
    let own = bytes.get(..frame.consumed).unwrap_or(bytes);
    match Sniff::of(own) {
        Sniff::Clear(protocol) => other_protocol_verdict(protocol),
        Sniff::LongPath if granularity != Granularity::Lines || is_http_request_line(own) => {
            other_protocol_verdict(OtherProtocol::Http)
        }
        Sniff::None | Sniff::LongPath => Verdict::Final(Ok(Some(frame))),
        Sniff::Maybe if !is_telling(own) || granularity == Granularity::AtOnce => {
            Verdict::Final(Ok(Some(frame)))
        }
        Sniff::Maybe => hold_if_unsure(input, Ok(frame)),
    }
}

/// Decides only when the bytes are, or cannot be, another protocol, or the input has ended;
/// otherwise holds the result.
fn hold_if_unsure(input: Unparsed<'_>, found: Found) -> Verdict {
    match Sniff::of(input.bytes()) {
        Sniff::Clear(protocol) => other_protocol_verdict(protocol),
        Sniff::LongPath => other_protocol_verdict(OtherProtocol::Http),
        Sniff::Maybe if input.read_state() != ReadState::Eof => Verdict::Hold(found),
        Sniff::None | Sniff::Maybe => Verdict::Final(found.map(Some)),
    }
}

/// Decides about what a server of this library says to a peer that speaks another framing, or
/// another protocol. Most framings would take it for a reply.
fn notice_verdict(notice: Notice) -> Verdict {
    let text = format_args!("the server answers that it {notice}");
    Verdict::Final(Err(FrameError::malformed(text)))
}

fn other_protocol_verdict(protocol: OtherProtocol) -> Verdict {
    Verdict::Final(Err(FrameError::other_protocol(protocol)))
}

/// Adds the protocol that the server seems to speak to an error. A framing that takes any bytes as
/// a reply has no such error.
fn name_protocol(input: Unparsed<'_>, parsed: Parsed) -> Parsed {
    let Some(protocol) = of_server(input.bytes()) else {
        return parsed;
    };
    match parsed {
        Err(error) => Err(error.looking_like(protocol)),
        Ok(Some(frame)) if frame.kind == FrameKind::TooLarge => {
            let error = FrameError::malformed(too_large(frame.frame.len(), input.limit()));
            Err(error.looking_like(protocol))
        }
        parsed => parsed,
    }
}

/// Rejects bytes that cannot begin a line, or a frame with a length of four bytes.
///
/// People mistake these two for each other. All other bytes are left to the framing.
fn check_first_bytes(input: Unparsed<'_>, granularity: Granularity) -> Result<(), FrameError> {
    match granularity {
        Granularity::Lines => reject_length(input),
        Granularity::LengthPrefixed => reject_text(input),
        Granularity::AtOnce | Granularity::Bytes => Ok(()),
    }
}

/// Rejects a length in place of a line of text.
///
/// Text has no zero byte, and the length of a message below 16 MiB begins with one.
fn reject_length(input: Unparsed<'_>) -> Result<(), FrameError> {
    if input.side() == Side::Server && input.bytes().starts_with(&[0]) {
        return Err(FrameError::with_notice(
            Notice::ExpectsLines,
            "that looks like length-prefixed frames, and this port expects lines of text",
        ));
    }
    Ok(())
}

/// Rejects text in place of a length.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`,
/// so it is not a length. The first four bytes decide, or the first line if it is shorter.
fn reject_text(input: Unparsed<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    if !matches!(bytes.first(), Some(b' '..=b'~')) {
        return Ok(());
    }
    let start = bytes.get(..HEADER).unwrap_or(bytes);
    // Bytes after a line end may not have arrived, so the result must not depend on them.
    let line = start.split_inclusive(|byte| *byte == b'\n').next();
    let start = line.unwrap_or_default();
    let complete =
        start.len() == HEADER || start.ends_with(b"\n") || input.read_state() == ReadState::Eof;
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if !complete || !start.iter().all(printable) {
        return Ok(());
    }
    if input.side() == Side::Client {
        let seen = crate::rejection::Escaped(start, HEADER);
        return Err(FrameError::malformed(format_args!(
            "the server sent text (`{seen}`) where a length stands: it does not speak length-prefixed frames"
        )));
    }
    Err(match of_text(start) {
        Some(protocol) => FrameError::other_protocol(protocol),
        None => FrameError::with_notice(
            Notice::ExpectsLength,
            "that looks like text, and this port expects length-prefixed frames",
        ),
    })
}
