//! The decision whether the first frame of a connection is one, or the beginning of another protocol.

use super::{
    FrameError, FrameKind, OtherProtocol, ParsedFrame, ReadState, Unparsed,
    length_prefixed::EXPECTS_LENGTH,
    lines::EXPECTS_LINES,
    signatures::{Signature, is_http_request_line, is_telling},
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

/// The answers of a server of this library that are of no protocol but its own, and what the server
/// says with them.
const OWN_ANSWERS: [(&[u8], &str); 2] = [
    (EXPECTS_LENGTH, "expects length-prefixed frames"),
    (EXPECTS_LINES, "expects lines of text"),
];

/// The answers of a server of this library to other protocols.
///
/// The alert is not one of them, because any server of TLS sends the same.
const ANSWERS: [(&[u8], &str); 3] = [
    (OtherProtocol::Http.answer(), "does not speak HTTP"),
    (OtherProtocol::Ssh.answer(), "does not speak SSH"),
    (OtherProtocol::Redis.answer(), "does not speak Redis"),
];

type Parsed = Result<Option<ParsedFrame>, FrameError>;

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

    /// Returns `true` if a server's first frame counts, and `false` if more bytes decide. Returns an
    /// error for another protocol.
    ///
    /// If `waits` is `false`, nothing may follow the frame, so it must not wait for more.
    pub(super) fn judge_request(
        &self,
        input: Unparsed<'_>,
        parsed: &Parsed,
        waits: bool,
    ) -> Result<bool, FrameError> {
        if !self.is_on {
            return Ok(true);
        }
        (self.check_start)(input)?;
        let signature = match parsed {
            Ok(Some(frame)) if matches!(frame.kind, FrameKind::Message | FrameKind::Control(_)) => {
                self.signature_of(input.bytes(), frame.consumed, waits)
            }
            // No peer waits for a reply to bytes that are skipped, so they can wait for more.
            _ => Signature::of(input.bytes()),
        };
        match signature {
            Signature::Complete(protocol) => Err(FrameError::other_protocol(protocol)),
            // A line can be long text. Its end shows whether it is a request line.
            Signature::LongPath if self.frames_are_lines && *parsed == Ok(None) => Ok(false),
            Signature::LongPath => Err(FrameError::other_protocol(OtherProtocol::Http)),
            Signature::Maybe(_) => Ok(input.read_state() == ReadState::Eof),
            Signature::No => Ok(true),
        }
    }

    /// Classifies a complete frame, by its own bytes if they suffice.
    ///
    /// The bytes after it may count only if the connection is certain to wait for them.
    fn signature_of(&self, bytes: &[u8], length: usize, waits: bool) -> Signature {
        let own = bytes.get(..length).unwrap_or(bytes);
        match Signature::of(own) {
            Signature::LongPath if self.frames_are_lines && !is_http_request_line(own) => {
                Signature::No
            }
            Signature::Maybe(_) if waits && is_telling(own) => Signature::of(bytes),
            Signature::Maybe(_) => Signature::No,
            signature => signature,
        }
    }

    /// Returns `true` if a client's first frame counts, and `false` if more bytes decide. Returns an
    /// error for what a server of this library says to a client of another framing or protocol,
    /// because most framings would take it for a reply.
    pub(super) fn judge_reply(
        &self,
        input: Unparsed<'_>,
        parsed: &Parsed,
    ) -> Result<bool, FrameError> {
        let bytes = input.bytes();
        if let Ok(Some(frame)) = parsed
            && matches!(frame.kind, FrameKind::Control(_))
        {
            return Ok(true);
        }
        let server = OtherProtocol::guess_server(bytes).filter(|_| self.is_on);
        (self.check_start)(input).map_err(|error| error.looking_like(server))?;
        let may_be_answer = self.check_answer(bytes)? && input.read_state() != ReadState::Eof;
        match parsed {
            // A short reply must not wait, as a short request must not.
            Ok(Some(frame)) if may_be_answer => {
                Ok(frame.kind != FrameKind::Skip && !is_telling(bytes))
            }
            Err(_) if may_be_answer && !bytes.is_empty() => Ok(false),
            Err(error) => Err(error.clone().looking_like(server)),
            Ok(Some(frame)) if frame.kind == FrameKind::TooLarge && server.is_some() => {
                let error = FrameError::too_large(frame.payload.len(), input.limit());
                Err(error.looking_like(server))
            }
            Ok(_) => Ok(true),
        }
    }

    /// Returns an error if the first bytes of a server are one of the answers, and `true` if they can
    /// become one.
    ///
    /// A framing that opts out of detection may carry the answers to other protocols, so only the
    /// answers about framings count for it.
    fn check_answer(&self, bytes: &[u8]) -> Result<bool, FrameError> {
        let others = ANSWERS.iter().filter(|_| self.is_on);
        for (answer, meaning) in OWN_ANSWERS.iter().chain(others) {
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
