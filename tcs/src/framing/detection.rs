//! The decision whether the first frame of a connection is one, or the beginning of another protocol.

use super::{
    FrameError, FrameKind, OtherProtocol, ParsedFrame, ReadState, Unparsed,
    other_protocol::Answer,
    signatures::{Sniff, is_http_request_line, is_telling},
};

/// How other protocols are detected around a framing: [`Framing::DETECTION`](super::Framing::DETECTION).
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    pub(super) is_on: bool,
    /// Whether a frame ends with its line, so that only a whole frame can be a request line of HTTP.
    pub(super) frames_are_lines: bool,
    /// Rejects bytes with which no stream of the framing begins.
    pub(super) check_start: fn(Unparsed<'_>) -> Result<(), FrameError>,
}

/// What to do with the result of a framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Deliver,
    /// More bytes decide.
    Wait,
}

impl Detection {
    /// A server detects other protocols.
    pub const ON: Self = Self {
        is_on: true,
        frames_are_lines: false,
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

    /// Decides about a server's first frame. Returns an error for another protocol.
    ///
    /// If `waits` is `false`, nothing may follow the frame, so it must not wait for more.
    pub(super) fn judge_request(
        &self,
        input: Unparsed<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
        waits: bool,
    ) -> Result<Verdict, FrameError> {
        if !self.is_on {
            return Ok(Verdict::Deliver);
        }
        (self.check_start)(input)?;
        let bytes = input.bytes();
        let sniff = match parsed {
            Ok(Some(frame)) if !matches!(frame.kind, FrameKind::TooLarge) => {
                self.sniff_frame(bytes, frame.consumed, waits)
            }
            _ => Sniff::of(bytes),
        };
        match sniff {
            Sniff::Clear(protocol) => Err(FrameError::other_protocol(protocol)),
            // A line can be long text. Its end shows whether it is a request line.
            Sniff::LongPath if self.frames_are_lines && *parsed == Ok(None) => Ok(Verdict::Wait),
            Sniff::LongPath => Err(FrameError::other_protocol(OtherProtocol::Http)),
            Sniff::Maybe(_) if input.read_state() != ReadState::Eof => Ok(Verdict::Wait),
            Sniff::None | Sniff::Maybe(_) => Ok(Verdict::Deliver),
        }
    }

    /// Classifies a complete frame, by its own bytes if they suffice.
    ///
    /// The bytes after it may count only if the connection is certain to wait for them.
    fn sniff_frame(&self, bytes: &[u8], length: usize, waits: bool) -> Sniff {
        let own = bytes.get(..length).unwrap_or(bytes);
        match Sniff::of(own) {
            Sniff::LongPath if self.frames_are_lines && !is_http_request_line(own) => Sniff::None,
            Sniff::Maybe(_) if waits && is_telling(own) => Sniff::of(bytes),
            Sniff::Maybe(_) => Sniff::None,
            sniff => sniff,
        }
    }

    /// Decides about a client's first frame. Returns an error for what a server of this library says
    /// to a client of another framing or protocol, because most framings would take it for a reply.
    ///
    /// A framing that opts out of detection may carry the answers to other protocols, so only the
    /// answers about framings count for it.
    pub(super) fn judge_reply(
        &self,
        input: Unparsed<'_>,
        parsed: &Result<Option<ParsedFrame>, FrameError>,
    ) -> Result<Verdict, FrameError> {
        if let Ok(Some(frame)) = parsed
            && matches!(frame.kind, FrameKind::Control(_))
        {
            return Ok(Verdict::Deliver);
        }
        let bytes = input.bytes();
        let server = OtherProtocol::guess_server(bytes).filter(|_| self.is_on);
        let name = |error: FrameError| match server {
            Some(protocol) => error.looking_like(protocol),
            None => error,
        };
        (self.check_start)(input).map_err(name)?;
        let answer = Answer::find(bytes, self.is_on);
        if let Some(answer) = answer.filter(|answer| bytes.starts_with(answer.bytes)) {
            let text = format_args!("the server answers that it {}", answer.meaning);
            return Err(FrameError::malformed(text));
        }
        let may_follow = answer.is_some() && input.read_state() != ReadState::Eof;
        match parsed {
            Ok(None) => Ok(Verdict::Wait),
            // A short reply must not wait, as a short request must not.
            Ok(Some(_)) if may_follow && is_telling(bytes) => Ok(Verdict::Wait),
            Err(_) if may_follow && !bytes.is_empty() => Ok(Verdict::Wait),
            Err(error) => Err(name(error.clone())),
            Ok(Some(frame)) => match frame.kind {
                FrameKind::TooLarge if server.is_some() => Err(name(FrameError::too_large(
                    frame.payload.len(),
                    input.limit(),
                ))),
                _ => Ok(Verdict::Deliver),
            },
        }
    }
}
