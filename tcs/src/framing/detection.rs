//! The decision whether the first frame of a connection is one, or the beginning of another protocol.

use super::{
    Exchanges, FrameError, FrameKind, Input, OtherProtocol, ParsedFrame, ReadState,
    other_protocol::{ANSWERS_TO_FRAMINGS, ANSWERS_TO_PROTOCOLS},
    signatures::{Match, is_distinctive, is_http_request_line},
};

/// How other protocols are detected around a framing: [`Framing::DETECTION`](super::Framing::DETECTION).
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    pub(super) is_on: bool,
    /// Whether a frame ends with its line, so that only a whole frame can be a request line of HTTP.
    pub(super) frames_are_lines: bool,
    /// Rejects bytes with which no stream of the framing begins.
    pub(super) reject_foreign_start: fn(Input<'_>) -> Result<(), FrameError>,
}

impl Detection {
    /// A server detects other protocols.
    pub const ON: Self = Self {
        is_on: true,
        frames_are_lines: false,
        reject_foreign_start: |_| Ok(()),
    };

    /// A server detects nothing. For framings that carry other protocols, or whose first message may
    /// begin like one.
    ///
    /// At a client, errors do not guess the protocol of the server, and the answer that a server gives
    /// to one of these protocols can be a reply.
    pub const OFF: Self = Self {
        is_on: false,
        ..Self::ON
    };

    /// Returns `true` if the first frame of a client, or the error in its place, must be held until
    /// the bytes after it decide whether the client speaks another protocol.
    ///
    /// # Errors
    ///
    /// Returns an error if the client speaks another protocol.
    pub(super) fn must_hold_request(
        &self,
        input: Input<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
        exchanges: Exchanges,
    ) -> Result<bool, FrameError> {
        if !self.is_on {
            return Ok(false);
        }
        (self.reject_foreign_start)(input)?;
        let bytes = input.bytes();
        let found = match whole_frame(bytes, parsed) {
            Some(frame) => self.match_frame(frame, bytes, exchanges),
            None => Match::of(bytes),
        };
        // With one exchange, the client waits for its reply and may send nothing more.
        let is_last = exchanges == Exchanges::One && parsed.is_err();
        match found {
            Match::Full(protocol) => Err(FrameError::other_protocol(protocol)),
            // A line can be long text. Its end shows whether it is a request line.
            Match::LongPath if self.frames_are_lines && *parsed == Ok(None) => Ok(true),
            Match::LongPath => Err(FrameError::other_protocol(OtherProtocol::Http)),
            Match::Partial(_) => Ok(input.read_state() != ReadState::Eof && !is_last),
            Match::No => Ok(false),
        }
    }

    /// Compares a whole frame with the signatures: by its own bytes, if they suffice.
    ///
    /// The bytes after it count only if more than one frame can follow, and if a short frame need not
    /// wait for them.
    fn match_frame(&self, frame: &[u8], bytes: &[u8], exchanges: Exchanges) -> Match {
        match Match::of(frame) {
            Match::LongPath if self.frames_are_lines && !is_http_request_line(frame) => Match::No,
            Match::Partial(_) if exchanges.are_many() && is_distinctive(frame) => Match::of(bytes),
            Match::Partial(_) => Match::No,
            found => found,
        }
    }

    /// Returns `true` if the first frame of a server, or the error in its place, must be held until
    /// the bytes after it decide whether they are an answer to another framing or protocol.
    ///
    /// # Errors
    ///
    /// Returns an error for what a server of this library says to a client of another framing or
    /// protocol, because most framings would take it for a reply. An error of the framing names the
    /// protocol that the server seems to speak.
    pub(super) fn must_hold_reply(
        &self,
        input: Input<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
    ) -> Result<bool, FrameError> {
        let bytes = input.bytes();
        if matches!(parsed, Ok(Some(frame)) if matches!(frame.kind, FrameKind::Control(_))) {
            return Ok(false);
        }
        let server = OtherProtocol::guess_server(bytes).filter(|_| self.is_on);
        (self.reject_foreign_start)(input).map_err(|error| error.with_guess(server))?;
        let may_be_answer = self.check_answer(bytes)?;
        // A short reply must not wait, as a short request must not.
        let can_wait = whole_frame(bytes, parsed).map_or(!bytes.is_empty(), is_distinctive);
        if may_be_answer && can_wait && input.read_state() != ReadState::Eof {
            return Ok(true);
        }
        match parsed {
            Err(error) => Err(error.clone().with_guess(server)),
            Ok(Some(frame)) if frame.kind == FrameKind::Oversized && server.is_some() => {
                let error = FrameError::too_large(frame.payload.len(), input.limit());
                Err(error.with_guess(server))
            }
            Ok(_) => Ok(false),
        }
    }

    /// Returns `true` if the first bytes of a server can become an answer to another framing or protocol.
    ///
    /// A framing that opts out of detection may carry the answers to other protocols, so only the
    /// answers to other framings count for it.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are one of the answers.
    fn check_answer(&self, bytes: &[u8]) -> Result<bool, FrameError> {
        let to_protocols = ANSWERS_TO_PROTOCOLS.iter().filter(|_| self.is_on);
        for (answer, meaning) in ANSWERS_TO_FRAMINGS.iter().chain(to_protocols) {
            if bytes.starts_with(answer) {
                let text = format_args!("the server answers that it {meaning}");
                return Err(FrameError::malformed(text));
            }
            if answer.starts_with(bytes) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the bytes of the frame, if all of them have arrived, so that its sender may be waiting for the
/// response. Nobody waits for one to bytes that are skipped.
fn whole_frame<'a>(
    bytes: &'a [u8],
    parsed: &Result<Option<ParsedFrame>, FrameError>,
) -> Option<&'a [u8]> {
    match parsed {
        Ok(Some(frame)) if frame.kind != FrameKind::Skip => bytes.get(..frame.consumed),
        _ => None,
    }
}
