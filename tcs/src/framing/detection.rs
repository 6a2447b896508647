//! Decides whether the first frame of a connection is a frame, or the beginning of another protocol.

use super::{
    Exchanges, FrameError, FrameKind, Input, OtherProtocol, ParsedFrame, ReadState,
    other_protocol::{ANSWERS_TO_FRAMINGS, ANSWERS_TO_PROTOCOLS},
    signatures::{Match, is_distinctive, is_http_request_line},
};

/// How other protocols are detected around a framing: [`Framing::DETECTION`](super::Framing::DETECTION).
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    /// Whether a server detects clients that speak another protocol.
    pub(crate) is_on: bool,
    /// Whether a client detects servers that speak another protocol.
    pub(super) detects_servers: bool,
    /// Whether a frame ends with its line, so that only a whole frame can be a request line of HTTP.
    pub(super) frames_are_lines: bool,
    /// Rejects bytes with which no stream of the framing begins.
    pub(super) reject_foreign_start: fn(Input<'_>) -> Result<(), FrameError>,
}

/// The decision about the first frame of a connection, or the error in its place.
pub(super) enum Decision {
    /// The connection gets the frame.
    Deliver,
    /// The frame waits for the bytes after it, which decide whether the peer speaks another protocol.
    Hold,
    /// The error takes the place of the frame, because the peer speaks another protocol.
    Replace(FrameError),
}

impl Detection {
    /// A server detects other protocols, and so does a client, if the first bytes of its server are a status line of
    /// HTTP, a version of SSH, or an alert of TLS.
    pub const ON: Self = Self {
        is_on: true,
        detects_servers: true,
        frames_are_lines: false,
        reject_foreign_start: |_| Ok(()),
    };

    /// Servers and clients detect nothing. For framings that carry other protocols, or whose first message may
    /// begin like one.
    ///
    /// At a client, errors do not guess the protocol of the server either, and the answer that a server gives
    /// to one of these protocols can be a reply.
    pub const OFF: Self = Self {
        is_on: false,
        detects_servers: false,
        ..Self::ON
    };

    /// Decides about the first frame of a client, or the error in its place: the client may speak another protocol.
    pub(super) fn decide_request(
        &self,
        input: Input<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
        exchanges: Exchanges,
    ) -> Decision {
        if !self.is_on {
            return Decision::Deliver;
        }
        if let Err(error) = (self.reject_foreign_start)(input) {
            return Decision::Replace(error);
        }
        let bytes = input.bytes();
        let found = match whole_frame(bytes, parsed) {
            Some(frame) => self.match_frame(frame, bytes, exchanges),
            None => Match::of(bytes),
        };
        // With one exchange, the client waits for its reply and may send nothing more.
        let is_last = exchanges == Exchanges::One && parsed.is_err();
        match found {
            Match::Full(protocol) => Decision::Replace(FrameError::other_protocol(protocol)),
            // A line can be long text. The end of the line shows whether it is a request line.
            Match::LongPath if self.frames_are_lines && *parsed == Ok(None) => Decision::Hold,
            Match::LongPath => Decision::Replace(FrameError::other_protocol(OtherProtocol::Http)),
            Match::Partial(_) if input.read_state() != ReadState::Eof && !is_last => Decision::Hold,
            Match::Partial(_) | Match::No => Decision::Deliver,
        }
    }

    /// Compares a whole frame with the signatures. The frame's own bytes decide, if they suffice.
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

    /// Decides about the first frame of a server, or the error in its place.
    ///
    /// An error replaces the answer of a server of this library to a client of another framing or protocol, and the
    /// beginning of another protocol, because most framings would take them for a reply. An error of the framing also
    /// names the protocol that the server seems to speak.
    pub(super) fn decide_reply(
        &self,
        input: Input<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
    ) -> Decision {
        let bytes = input.bytes();
        if matches!(parsed, Ok(Some(frame)) if matches!(frame.kind, FrameKind::Control(_))) {
            return Decision::Deliver;
        }
        let guess = OtherProtocol::guess_server(bytes).filter(|_| self.detects_servers);
        if let Err(error) = (self.reject_foreign_start)(input) {
            return Decision::Replace(error.with_guess(guess));
        }
        let may_be_answer = match self.check_answer(bytes) {
            Ok(may_be_answer) => may_be_answer,
            Err(error) => return Decision::Replace(error),
        };
        // A short reply must not wait, just as a short request must not. So the bytes after a short reply do not count
        // either.
        let is_short = whole_frame(bytes, parsed).is_some_and(|frame| frame.len() < 4);
        let can_wait = !is_short && !bytes.is_empty() && input.read_state() != ReadState::Eof;
        let found = if self.detects_servers && !is_short {
            Match::of_server(bytes)
        } else {
            Match::No
        };
        match (found, parsed) {
            // The end of the answer says which protocol this client spoke, which helps more than the protocol of the
            // server.
            _ if may_be_answer && can_wait => Decision::Hold,
            (Match::Full(protocol), _) => Decision::Replace(FrameError::server_speaks(protocol)),
            (Match::Partial(_), _) if can_wait => Decision::Hold,
            (_, Err(error)) => Decision::Replace(error.clone().with_guess(guess)),
            (_, Ok(Some(frame))) if frame.kind == FrameKind::Oversized && guess.is_some() => {
                let error = FrameError::too_large(frame.oversized_len(), input.limit());
                Decision::Replace(error.with_guess(guess))
            }
            _ => Decision::Deliver,
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
        let to_protocols = ANSWERS_TO_PROTOCOLS.iter().filter(|_| self.detects_servers);
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

/// Returns the whole frame if it has arrived: its sender may be waiting for a response. Skipped bytes get no response.
fn whole_frame<'a>(
    bytes: &'a [u8],
    parsed: &Result<Option<ParsedFrame>, FrameError>,
) -> Option<&'a [u8]> {
    match parsed {
        Ok(Some(frame)) if frame.kind != FrameKind::Skip => bytes.get(..frame.consumed),
        _ => None,
    }
}
