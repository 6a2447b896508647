//! The first frame of a connection, around any framing.
//!
//! Until the first frame is delivered, [`FirstFrame`] lets a [`Detection`] judge each result of its
//! framing. A result counts, or waits for the bytes that decide, or is replaced with an error, because
//! the peer speaks another protocol. This works around every framing, because it depends only on the
//! bytes and on the end of the frame. `signatures` compares bytes with other protocols, `detection`
//! decides, and this module holds the result that waits. None of them knows a framing.

use std::{any::Any, mem, ops::Range};

use super::{
    Detection, FrameError, FrameKind, Framing, ParsedFrame, ReadState, Side, Unparsed,
    detection::Verdict,
};
use crate::Rejection;

/// Any framing, with detection of other protocols in the first bytes of a connection.
///
/// A server delivers the first frame only once the bytes cannot be another protocol. The frame's own
/// bytes decide if they can, and otherwise the bytes after it. The decision is a function of the
/// bytes alone. It does not depend on how the network, or an attacker, split them into reads.
///
/// At a client, what a server of this library says to a peer of another framing is an error, and an
/// error about the first bytes names the protocol that the server seems to speak.
///
/// After the first frame, all of this costs one branch. It also returns an error for a frame that
/// breaks the rules of [`Framing::parse`], so that no other code checks what a framing returns.
#[derive(Debug)]
pub struct FirstFrame<F> {
    framing: F,
    progress: Progress,
}

/// The progress of a connection.
#[derive(Debug)]
enum Progress {
    /// The first frame is not delivered.
    ///
    /// If the framing has returned it, or an error, it waits here. It is kept, because a framing may
    /// change its state with each frame, and so never parses the same frame twice. It is boxed,
    /// because it is rare, and each idle connection has room for it.
    First(Option<Box<Result<ParsedFrame, FrameError>>>),
    /// Detection is over.
    Later,
}

type Parsed = Result<Option<ParsedFrame>, FrameError>;

impl<F: Framing> FirstFrame<F> {
    /// Creates the framing of a new connection.
    pub const fn new(framing: F) -> Self {
        Self {
            framing,
            progress: Progress::First(None),
        }
    }

    /// Appends the answer to a peer whose bytes are not a frame, in a protocol that the peer
    /// understands.
    ///
    /// Returns `true` if an answer was appended.
    pub fn answer_error(&mut self, out: &mut Vec<u8>, error: &FrameError) -> bool {
        match error.answer() {
            Some(answer) => {
                out.extend_from_slice(answer);
                true
            }
            None => self.framing.reject(out, &error.rejection()),
        }
    }

    /// Parses the first frame.
    ///
    /// Takes the parts of the input, so that a caller need not store an [`Unparsed`] for a call that is
    /// rare.
    #[cold]
    #[inline(never)]
    fn first(&mut self, bytes: &[u8], limit: usize, side: Side, read_state: ReadState) -> Parsed {
        let input = Unparsed::new(bytes, limit, side, read_state);
        let parsed = match mem::replace(&mut self.progress, Progress::First(None)) {
            Progress::First(Some(held)) => held.map(Some),
            Progress::First(None) | Progress::Later => self.parse_checked(input),
        };
        let verdict = match side {
            Side::Server => F::DETECTION.judge_request(input, &parsed, F::PERSISTENT),
            Side::Client => F::DETECTION.judge_reply(input, &parsed),
        };
        match verdict? {
            Verdict::Deliver if parsed != Ok(None) => {
                self.progress = Progress::Later;
                parsed
            }
            Verdict::Deliver | Verdict::Wait => {
                self.progress = Progress::First(parsed.transpose().map(Box::new));
                Ok(None)
            }
        }
    }

    /// Parses a frame, and checks that it is possible.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse_checked(&mut self, input: Unparsed<'_>) -> Parsed {
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
}

#[cold]
fn impossible_frame() -> FrameError {
    FrameError::malformed("the framing found a frame without bytes, or beyond them")
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
    const DETECTION: Detection = F::DETECTION;
    const TYPED: bool = F::TYPED;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse(&mut self, input: Unparsed<'_>) -> Parsed {
        if !matches!(self.progress, Progress::Later) {
            let (bytes, limit) = (input.bytes(), input.limit());
            let first = self.first(bytes, limit, input.side(), input.read_state())?;
            // A framing without fields finds the same message again. The compiler then sees that no
            // message comes from a call, and keeps the parts of a message in registers. This saves
            // an eighth of the instructions of a small request.
            let is_stateless = size_of::<F>() == 0;
            match first {
                Some(frame) if is_stateless && frame.kind == FrameKind::Message => {}
                first => return Ok(first),
            }
        }
        self.parse_checked(input)
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
