//! The first frame of a connection, which tells whether the peer speaks the protocol at all.

use std::{any::Any, mem};

use super::{
    Framing,
    other_protocol::{Notice, OtherProtocol},
    parse::{Arrival, FrameError, FrameKind, Granularity, ParsedFrame, Side, Unparsed, too_large},
    signatures::{Sniff, is_http_request_line, is_telling, of_server, of_text},
};
use crate::Rejection;

/// Any framing, with detection of other protocols in the first bytes of a connection.
///
/// At a server, the first frame is delivered only when it is clear that the bytes up to its end, or the
/// bytes after it where those of the frame leave it open, are of no other protocol. What is decided is
/// a function of the bytes alone. How they were split into reads, which is the network's choice or an
/// attacker's, has no part in it.
///
/// At a client, an error about the first bytes says what the server seems to speak instead.
///
/// After the first frame, all of this is one branch.
#[derive(Debug)]
pub struct FirstFrame<F> {
    framing: F,
    stage: Stage,
}

type Parsed = Result<Option<ParsedFrame>, FrameError>;

/// What was found instead of an incomplete frame.
type Found = Result<ParsedFrame, FrameError>;

/// How far a connection has come.
#[derive(Debug)]
enum Stage {
    /// The first frame is not complete.
    Incomplete,
    /// The framing has found this, and more bytes have to tell whether it counts.
    ///
    /// It is kept, because a framing may change what it knows of a connection with each frame: it is
    /// never asked for the same frame twice. Boxed, as it is rare, and each idle connection has room
    /// for it.
    Held(Box<Found>),
    /// Detection is over, or was never wanted.
    Past,
}

/// What becomes of what a framing has found.
enum Verdict {
    /// It counts, and detection is over.
    Final(Parsed),
    /// No frame is complete, and more bytes can show another protocol.
    Incomplete,
    /// More bytes have to tell.
    Hold(Found),
}

impl<F: Framing> FirstFrame<F> {
    /// Starts with the first bytes of a connection.
    pub const fn new(framing: F) -> Self {
        Self {
            framing,
            stage: if F::DETECTS_OTHER_PROTOCOLS {
                Stage::Incomplete
            } else {
                Stage::Past
            },
        }
    }

    /// Appends the last words to a peer whose bytes are no frame, in terms that it understands.
    ///
    /// Returns `true` if `out` now holds them.
    pub fn answer_error(&mut self, out: &mut Vec<u8>, error: &FrameError) -> bool {
        error.notice.is_some_and(|notice| notice.write(out))
            || self.framing.reject(out, &error.rejection())
    }

    /// Parses the first frame.
    ///
    /// It takes the parts of the input, because a whole one would have to be put into memory for it
    /// even where it is not called.
    #[cold]
    #[inline(never)]
    fn first(&mut self, bytes: &[u8], limit: usize, side: Side, arrival: Arrival) -> Parsed {
        let input = Unparsed::new(bytes, limit, side, arrival);
        let parsed = match mem::replace(&mut self.stage, Stage::Incomplete) {
            Stage::Held(found) => found.map(Some),
            Stage::Incomplete | Stage::Past => self.framing.parse(input),
        };
        match judge(input, F::GRANULARITY, parsed) {
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
            let first = self.first(bytes, limit, input.side(), input.arrival())?;
            // What this framing finds depends on the bytes alone, so it can find a message again. The
            // compiler then sees that no message comes out of a call, and keeps what it knows of
            // messages in registers: an eighth of the instructions of a small request.
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
    fn values(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.framing.values()
    }
}

// What follows depends on no framing, and is compiled with this library, not with each program.

/// Judges what a framing has found in the first bytes of a connection.
fn judge(input: Unparsed<'_>, granularity: Granularity, parsed: Parsed) -> Verdict {
    if let Err(error) = no_first_bytes(input, granularity) {
        let parsed = match input.side() {
            Side::Server => Err(error),
            Side::Client => of_a_server(input, Err(error)),
        };
        return Verdict::Final(parsed);
    }
    match (input.side(), parsed) {
        (Side::Server, Ok(None)) => incomplete(input, granularity),
        (Side::Server, Ok(Some(frame))) if frame.kind != FrameKind::TooLarge => {
            complete(input, granularity, frame)
        }
        (Side::Server, Ok(Some(frame))) => no_message(input, Ok(frame)),
        (Side::Server, Err(error)) => no_message(input, Err(error)),
        (Side::Client, Ok(None)) => Verdict::Incomplete,
        (Side::Client, parsed) => Verdict::Final(of_a_server(input, parsed)),
    }
}

/// Judges bytes that are no complete frame.
fn incomplete(input: Unparsed<'_>, granularity: Granularity) -> Verdict {
    match Sniff::of(input.bytes()) {
        Sniff::Clear(protocol) => other(protocol),
        // A line can be long text. At its end it is seen whether it is a request line.
        Sniff::LongPath if granularity != Granularity::Lines => other(OtherProtocol::Http),
        // So few bytes can still be text where a length is expected.
        Sniff::None
            if granularity != Granularity::LengthPrefixed || input.bytes().len() >= HEADER =>
        {
            Verdict::Final(Ok(None))
        }
        _ => Verdict::Incomplete,
    }
}

/// Judges a complete frame, by its own bytes as far as they tell.
///
/// Whether more bytes have arrived may only matter where it is certain that they are waited for.
fn complete(input: Unparsed<'_>, granularity: Granularity, frame: ParsedFrame) -> Verdict {
    let bytes = input.bytes();
    let own = bytes.get(..frame.consumed).unwrap_or(bytes);
    match Sniff::of(own) {
        Sniff::Clear(protocol) => other(protocol),
        Sniff::LongPath if granularity != Granularity::Lines || is_http_request_line(own) => {
            other(OtherProtocol::Http)
        }
        Sniff::None | Sniff::LongPath => Verdict::Final(Ok(Some(frame))),
        Sniff::Maybe if !is_telling(own) || granularity == Granularity::AtOnce => {
            Verdict::Final(Ok(Some(frame)))
        }
        Sniff::Maybe => no_message(input, Ok(frame)),
    }
}

/// Judges what is held against the peer, or delivered to the protocol, only when it is certain that it
/// is of no other protocol, or the input has ended.
fn no_message(input: Unparsed<'_>, found: Found) -> Verdict {
    match Sniff::of(input.bytes()) {
        Sniff::Clear(protocol) => other(protocol),
        Sniff::LongPath => other(OtherProtocol::Http),
        Sniff::Maybe if input.arrival() != Arrival::Ended => Verdict::Hold(found),
        Sniff::None | Sniff::Maybe => Verdict::Final(found.map(Some)),
    }
}

fn other(protocol: OtherProtocol) -> Verdict {
    Verdict::Final(Err(FrameError::other_protocol(protocol)))
}

/// Adds to an error what the server seems to speak. Where anything is a reply, nothing is said.
fn of_a_server(input: Unparsed<'_>, parsed: Parsed) -> Parsed {
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

/// So many bytes are the length of a message where that is a framing's.
const HEADER: usize = 4;

/// Refuses what can be no first bytes of lines, or of frames with a length of four bytes.
///
/// These two are what people mistake for each other. Any others are left to the framing.
fn no_first_bytes(input: Unparsed<'_>, granularity: Granularity) -> Result<(), FrameError> {
    match granularity {
        Granularity::Lines => refuse_length(input),
        Granularity::LengthPrefixed => refuse_text(input),
        Granularity::AtOnce | Granularity::Bytes => Ok(()),
    }
}

/// Refuses a length at the start of what should be a line of text.
///
/// Text has no zero byte, and the length of a message below 16 MiB begins with one.
fn refuse_length(input: Unparsed<'_>) -> Result<(), FrameError> {
    if input.side() == Side::Server && input.bytes().starts_with(&[0]) {
        return Err(FrameError::with_notice(
            Notice::ExpectsLines,
            "that looks like length-prefixed frames, and this port expects lines of text",
        ));
    }
    Ok(())
}

/// Refuses text at the start of what should be a length.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`,
/// so it is no length. The first four bytes tell, or the first line if it is shorter.
fn refuse_text(input: Unparsed<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    if !matches!(bytes.first(), Some(b' '..=b'~')) {
        return Ok(());
    }
    let start = bytes.get(..HEADER).unwrap_or(bytes);
    // Bytes after a line end may not have arrived, so they must not matter.
    let line = start.split_inclusive(|byte| *byte == b'\n').next();
    let start = line.unwrap_or_default();
    let complete =
        start.len() == HEADER || start.ends_with(b"\n") || input.arrival() == Arrival::Ended;
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
