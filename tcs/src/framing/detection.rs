//! The decision whether the first frame of a connection is one, or the beginning of another protocol.

use super::{
    Exchanges, FrameError, FrameKind, OtherProtocol, ParsedFrame, ReadState, Unparsed,
    other_protocol::{ANSWERS_TO_FRAMINGS, ANSWERS_TO_PROTOCOLS},
    parsed::Parsed,
    signatures::{Match, is_distinctive, is_http_request_line},
};

/// How other protocols are detected around a framing: [`Framing::DETECTION`](super::Framing::DETECTION).
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    pub(super) is_on: bool,
    /// Whether a frame ends with its line, so that only a whole frame can be a request line of HTTP.
    pub(super) frames_are_lines: bool,
    /// Whether the framing is known to be stateless, so that it can parse the first frame twice. A
    /// framing of a user is never known to be.
    pub(super) is_stateless: bool,
    /// Rejects bytes with which no stream of the framing begins.
    pub(super) check_start: fn(Unparsed<'_>) -> Result<(), FrameError>,
}

/// What becomes of the first frame, or of the error in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is delivered.
    Deliver,
    /// It is held, because the bytes that follow decide.
    Hold,
}

impl Detection {
    /// A server detects other protocols.
    pub const ON: Self = Self {
        is_on: true,
        frames_are_lines: false,
        is_stateless: false,
        check_start: |_| Ok(()),
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

    /// Judges what a framing has found at the beginning of a client's bytes.
    ///
    /// With one exchange, nothing may follow the frame, so it must not wait for more.
    ///
    /// # Errors
    ///
    /// Returns an error if the client speaks another protocol.
    pub(super) fn judge_request(
        &self,
        input: Unparsed<'_>,
        parsed: &Parsed,
        exchanges: Exchanges,
    ) -> Result<Verdict, FrameError> {
        if !self.is_on {
            return Ok(Verdict::Deliver);
        }
        (self.check_start)(input)?;
        let found = match parsed {
            Ok(Some(frame)) if matches!(frame.kind, FrameKind::Message | FrameKind::Control(_)) => {
                self.match_frame(input.bytes(), frame.consumed, exchanges)
            }
            // No peer waits for a reply to bytes that are skipped, so they can wait for more.
            _ => Match::of(input.bytes()),
        };
        match found {
            Match::Full(protocol) => Err(FrameError::other_protocol(protocol)),
            // A line can be long text. Its end shows whether it is a request line.
            Match::LongPath if self.frames_are_lines && *parsed == Ok(None) => Ok(Verdict::Hold),
            Match::LongPath => Err(FrameError::other_protocol(OtherProtocol::Http)),
            Match::Partial(_) if input.read_state() != ReadState::Eof => Ok(Verdict::Hold),
            Match::Partial(_) | Match::No => Ok(Verdict::Deliver),
        }
    }

    /// Compares a complete frame with the signatures: by its own bytes, if they suffice.
    ///
    /// The bytes after it may count only if the connection is certain to wait for them.
    fn match_frame(&self, bytes: &[u8], length: usize, exchanges: Exchanges) -> Match {
        let own = bytes.get(..length).unwrap_or(bytes);
        match Match::of(own) {
            Match::LongPath if self.frames_are_lines && !is_http_request_line(own) => Match::No,
            Match::Partial(_) if exchanges.are_many() && is_distinctive(own) => Match::of(bytes),
            Match::Partial(_) => Match::No,
            found => found,
        }
    }

    /// Judges what a framing has found at the beginning of a server's bytes.
    ///
    /// # Errors
    ///
    /// Returns an error for what a server of this library says to a client of another framing or
    /// protocol, because most framings would take it for a reply. An error of the framing names the
    /// protocol that the server seems to speak.
    pub(super) fn judge_reply(
        &self,
        input: Unparsed<'_>,
        parsed: &Parsed,
    ) -> Result<Verdict, FrameError> {
        let bytes = input.bytes();
        if let Ok(Some(ParsedFrame {
            kind: FrameKind::Control(_),
            ..
        })) = parsed
        {
            return Ok(Verdict::Deliver);
        }
        let server = OtherProtocol::guess_server(bytes).filter(|_| self.is_on);
        (self.check_start)(input).map_err(|error| error.looking_like(server))?;
        let may_be_answer = self.check_answer(bytes)? && input.read_state() != ReadState::Eof;
        let can_wait = match parsed {
            // A short reply must not wait, as a short request must not.
            Ok(Some(frame)) => frame.kind == FrameKind::Skip || is_distinctive(bytes),
            _ => !bytes.is_empty(),
        };
        match parsed {
            _ if may_be_answer && can_wait => Ok(Verdict::Hold),
            Err(error) => Err(error.clone().looking_like(server)),
            Ok(Some(frame)) if frame.kind == FrameKind::TooLarge && server.is_some() => {
                let error = FrameError::too_large(frame.payload.len(), input.limit());
                Err(error.looking_like(server))
            }
            Ok(_) => Ok(Verdict::Deliver),
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
