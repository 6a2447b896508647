//! The first frame of a connection, and the detection of other protocols in it.

use std::{any::Any, mem, ops::Range};

use super::{
    Framing,
    length_prefixed::HEADER,
    other_protocol::{Notice, OtherProtocol},
    parse::{Detection, FrameError, FrameKind, ParsedFrame, ReadState, Side, Unparsed},
    signatures::{Sniff, is_http_request_line, is_telling, of_server, of_text},
};
use crate::{Rejection, rejection::Escaped};

/// Any framing, with detection of other protocols in the first bytes of a connection.
///
/// A server delivers the first frame only once the bytes cannot be another protocol. The frame's own
/// bytes decide if they can, and otherwise the bytes after it. The decision is a function of the
/// bytes alone. It does not depend on how the network, or an attacker, split them into reads.
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

/// The progress of a connection.
#[derive(Debug)]
enum Stage {
    /// The first frame is not delivered.
    ///
    /// If the framing has returned it, or an error, more bytes decide whether that counts. It is
    /// kept, because a framing may change its state with each frame, and so never parses the same
    /// frame twice, unless its result depends on the bytes alone (`LengthPrefixed`). It is boxed,
    /// because it is rare, and each idle connection has room for it.
    First(Option<Box<Result<ParsedFrame, FrameError>>>),
    /// Detection is over.
    Past,
}

/// The decision about a framing's result.
enum Verdict {
    /// The result counts, and detection is over.
    Final(Parsed),
    /// More bytes decide. If there is a frame or an error, it is held until then.
    Wait(Parsed),
}

impl<F: Framing> FirstFrame<F> {
    /// Creates the framing of a new connection.
    pub const fn new(framing: F) -> Self {
        Self {
            framing,
            stage: Stage::First(None),
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

    /// Parses a frame. Returns an error for one that breaks the rules of [`Framing::parse`], so that
    /// no other code needs to check what a framing returns.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse_possible(&mut self, input: Unparsed<'_>) -> Parsed {
        let Some(frame) = self.framing.parse(input)? else {
            return Ok(None);
        };
        let (arrived, consumed) = (input.bytes().len(), frame.consumed);
        let Range { start, end } = frame.payload;
        let is_within = start <= end && end <= consumed && consumed <= arrived;
        if frame.kind == FrameKind::Message {
            let may_be_empty = F::TYPED || !F::PERSISTENT && input.side() == Side::Client;
            return if is_within && (consumed > 0 || may_be_empty) {
                Ok(Some(ParsedFrame::message(start..end, consumed)))
            } else {
                Err(impossible_frame())
            };
        }
        // The rest of a message beyond the limit may arrive later.
        let is_possible = match frame.kind {
            FrameKind::TooLarge => arrived > 0,
            _ => is_within,
        };
        if is_possible && consumed > 0 {
            Ok(Some(frame))
        } else {
            Err(impossible_frame())
        }
    }

    /// Parses the first frame.
    ///
    /// Takes the parts of the input: a whole one would have to be put into memory for this call,
    /// even where the call does not happen.
    #[cold]
    #[inline(never)]
    fn first(&mut self, bytes: &[u8], limit: usize, side: Side, read_state: ReadState) -> Parsed {
        let input = Unparsed::new(bytes, limit, side, read_state);
        let parsed = match mem::replace(&mut self.stage, Stage::First(None)) {
            Stage::First(Some(held)) => held.map(Some),
            Stage::First(None) | Stage::Past => self.parse_possible(input),
        };
        let verdict = match (side, F::DETECTS_OTHER_PROTOCOLS) {
            (Side::Server, true) => judge_request(input, F::DETECTION, parsed),
            (Side::Server, false) => Verdict::Final(parsed),
            (Side::Client, detects) => judge_reply(input, F::DETECTION, detects, parsed),
        };
        match verdict {
            Verdict::Final(parsed) => {
                self.stage = Stage::Past;
                parsed
            }
            Verdict::Wait(parsed) => {
                self.stage = Stage::First(parsed.transpose().map(Box::new));
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
    const DETECTION: Detection = F::DETECTION;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse(&mut self, input: Unparsed<'_>) -> Parsed {
        if !matches!(self.stage, Stage::Past) {
            let (bytes, limit) = (input.bytes(), input.limit());
            let first = self.first(bytes, limit, input.side(), input.read_state())?;
            // The result of this framing depends on the bytes alone, so it can parse a message
            // again. The compiler then sees that no message comes from a call, and keeps the parts
            // of a message in registers. This saves an eighth of the instructions of a small
            // request.
            let finds_again = matches!(F::DETECTION, Detection::LengthPrefixed);
            match first {
                Some(frame) if finds_again && frame.kind == FrameKind::Message => {}
                first => return Ok(first),
            }
        }
        self.parse_possible(input)
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

#[cold]
fn impossible_frame() -> FrameError {
    FrameError::malformed("the framing found a frame without bytes, or beyond them")
}

/// Decides about a server's first frame.
fn judge_request(input: Unparsed<'_>, detection: Detection, parsed: Parsed) -> Verdict {
    if let Err(error) = check_first_bytes(input, detection) {
        return Verdict::Final(Err(error));
    }
    let bytes = input.bytes();
    let sniff = match &parsed {
        Ok(Some(frame)) if frame.kind != FrameKind::TooLarge => {
            sniff_frame(bytes, frame.consumed, detection)
        }
        _ => Sniff::of(bytes),
    };
    let is_incomplete = matches!(parsed, Ok(None));
    match sniff {
        Sniff::Clear(protocol) => Verdict::Final(Err(FrameError::other_protocol(protocol))),
        // A line can be long text. Its end shows whether it is a request line.
        Sniff::LongPath if is_incomplete && detection == Detection::Lines => Verdict::Wait(parsed),
        Sniff::LongPath => Verdict::Final(Err(FrameError::other_protocol(OtherProtocol::Http))),
        Sniff::Maybe if input.read_state() != ReadState::Eof => Verdict::Wait(parsed),
        // Fewer than four bytes can still be text in place of a length.
        Sniff::None
            if is_incomplete && detection == Detection::LengthPrefixed && bytes.len() < HEADER =>
        {
            Verdict::Wait(parsed)
        }
        Sniff::None | Sniff::Maybe => Verdict::Final(parsed),
    }
}

/// Classifies a complete frame, by its own bytes if they suffice.
///
/// The bytes after it may count only if the connection is certain to wait for them.
fn sniff_frame(bytes: &[u8], length: usize, detection: Detection) -> Sniff {
    let own = bytes.get(..length).unwrap_or(bytes);
    match Sniff::of(own) {
        Sniff::LongPath if detection == Detection::Lines && !is_http_request_line(own) => {
            Sniff::None
        }
        Sniff::Maybe if is_telling(own) && detection != Detection::AtOnce => Sniff::of(bytes),
        Sniff::Maybe => Sniff::None,
        sniff => sniff,
    }
}

/// Decides about a client's first frame.
///
/// A framing that opts out of detection may carry the answers to other protocols, so only the notices
/// about framings count for it.
fn judge_reply(
    input: Unparsed<'_>,
    detection: Detection,
    detects: bool,
    parsed: Parsed,
) -> Verdict {
    let parsed = check_first_bytes(input, detection).and(parsed);
    let bytes = input.bytes();
    // In the length-prefixed framing, a notice is a control frame, and no text is taken for a frame.
    let notice = match detection {
        Detection::LengthPrefixed => None,
        _ => Notice::of_server(bytes, detects),
    };
    if let Some(notice) = notice.filter(|notice| notice.is_complete(bytes)) {
        return notice_verdict(notice);
    }
    let may_follow = notice.is_some() && input.read_state() != ReadState::Eof;
    let must_wait = match &parsed {
        Ok(None) => true,
        // A short reply must not wait, as a short request must not.
        Ok(Some(_)) => may_follow && is_telling(bytes),
        Err(_) => may_follow && !bytes.is_empty(),
    };
    match (must_wait, detects) {
        (true, _) => Verdict::Wait(parsed),
        (false, true) => Verdict::Final(name_protocol(input, parsed)),
        (false, false) => Verdict::Final(parsed),
    }
}

/// Decides about what a server of this library says to a peer that speaks another framing, or
/// another protocol. Most framings would take it for a reply.
fn notice_verdict(notice: Notice) -> Verdict {
    let text = format_args!("the server answers that it {notice}");
    Verdict::Final(Err(FrameError::malformed(text)))
}

/// Adds the protocol that the server seems to speak to an error. A framing that takes any bytes as
/// a reply has no such error.
fn name_protocol(input: Unparsed<'_>, parsed: Parsed) -> Parsed {
    let Some(protocol) = of_server(input.bytes()) else {
        return parsed;
    };
    let error = match parsed {
        Err(error) => error,
        Ok(Some(frame)) if frame.kind == FrameKind::TooLarge => {
            FrameError::too_large(frame.payload.len(), input.limit())
        }
        parsed => return parsed,
    };
    Err(error.looking_like(protocol))
}

/// Rejects text where a length is expected, and a length where a line is expected.
///
/// People mistake these two framings for each other. All other bytes are left to the framing.
fn check_first_bytes(input: Unparsed<'_>, detection: Detection) -> Result<(), FrameError> {
    match (detection, input.side()) {
        // Text has no zero byte, and the length of a message below 16 MiB begins with one.
        (Detection::Lines, Side::Server) if input.bytes().starts_with(&[0]) => {
            Err(FrameError::with_notice(
                Notice::ExpectsLines,
                "that looks like length-prefixed frames, and this port expects lines of text",
            ))
        }
        (Detection::LengthPrefixed, side) => match text_start(input) {
            Some(start) => Err(text_error(start, side)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Returns the first four bytes, or the first line if it is shorter, if they are text.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`,
/// so text is not a length.
fn text_start(input: Unparsed<'_>) -> Option<&[u8]> {
    let bytes = input.bytes();
    let start = bytes.get(..HEADER).unwrap_or(bytes);
    // Bytes after a line end may not have arrived, so the result must not depend on them.
    let line = start.split_inclusive(|byte| *byte == b'\n').next()?;
    let is_complete =
        line.len() == HEADER || line.ends_with(b"\n") || input.read_state() == ReadState::Eof;
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let begins_printable = matches!(line.first(), Some(b' '..=b'~'));
    (is_complete && begins_printable && line.iter().all(is_text)).then_some(line)
}

fn text_error(start: &[u8], side: Side) -> FrameError {
    if side == Side::Client {
        let seen = Escaped(start, HEADER);
        return FrameError::malformed(format_args!(
            "the server sent text (`{seen}`) where a length is expected: it does not speak length-prefixed frames"
        ));
    }
    match of_text(start) {
        Some(protocol) => FrameError::other_protocol(protocol),
        None => FrameError::with_notice(
            Notice::ExpectsLength,
            "that looks like text, and this port expects length-prefixed frames",
        ),
    }
}
