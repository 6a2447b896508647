//! The framing of a connection: any framing, with the detection of other protocols and checks around it.
//!
//! ```text
//! bytes ─► Framing::parse ─► check of its rules ─► first frame? ── no ──► the connection
//!                                                      │ yes
//!                                                      ▼
//!                                Detection::decide_request or decide_reply
//!                                 Deliver: it goes to the connection
//!                                 Hold: it waits here for the bytes that decide
//!                                 Replace: an error takes its place, the peer speaks another protocol
//! ```
//!
//! Detection works around every framing, because it depends only on the bytes and on the end of the frame.
//! `other_protocol` names the protocols and has the answers to them, `signatures` compares bytes with them, `detection`
//! decides, and this module holds the frame that waits.

use super::{
    Announcement, FrameError, FrameKind, Framing, Input, Notice, ParsedFrame, ReadState, Side,
    detection::Decision,
    notice::PING,
    parse::{OVERHEAD, SKIP_FACTOR},
};
use crate::Rejection;

/// The framing of a connection, at a server or a client.
///
/// A server delivers the first frame only once the bytes cannot be another protocol. The frame's own bytes decide, or
/// the bytes after it if the frame's own do not suffice. Until the input ends, the decision depends only on the bytes,
/// and not on how the network, or an attacker, split them into reads. `Raw` is the exception, because its first read is
/// its frame.
///
/// At a client, the beginning of another protocol is an error, and so is the answer of a server of this library to a
/// peer of another framing. An error about the first bytes names the protocol that the server seems to speak.
///
/// A message that a notice has announced ([`Notice::Announce`]) gets the kind [`FrameKind::Announced`], and so does a
/// message that the protocol takes for an event ([`set_is_event`](Self::set_is_event)).
///
/// After the first frame, all of this costs one branch. Every frame is checked here: a frame that breaks the rules of
/// [`Framing::parse`] is an error. So no other code checks the frames of a framing.
#[derive(Debug)]
pub struct ConnectionFraming<F> {
    inner: F,
    /// Whether the next frame needs more than parsing: the first frame, announced messages, and all frames of a client
    /// whose protocol tells events from replies. All other frames cost one branch.
    needs_inspection: bool,
    /// Whether the first frame is not delivered yet.
    is_first: bool,
    /// The kind of the next messages, if a notice has announced them.
    announcement: Announcement,
    /// How many of the next messages were announced.
    announced: u32,
    /// Boxed, to keep idle connections small.
    rare: Option<Box<RareState>>,
}

/// The state that most connections do not need.
#[derive(Debug, Default)]
struct RareState {
    /// The first frame, or the error in its place, while it waits for the bytes that decide. A framing may change its
    /// state with each frame, so parsing this one again could give another result.
    held: Option<Result<ParsedFrame, FrameError>>,
    /// Returns `true` if a message is an event. For clients of framings without notices.
    is_event: Option<fn(&[u8]) -> bool>,
    /// The id and the time in milliseconds of the deadline that the last frame has set, if it has set one.
    deadline: Option<(u32, u32)>,
}

impl<F: Framing> ConnectionFraming<F> {
    /// Creates the framing of a new connection.
    pub const fn new(inner: F) -> Self {
        Self {
            inner,
            needs_inspection: true,
            is_first: true,
            announcement: Announcement::Items,
            announced: 0,
            rare: None,
        }
    }

    /// Creates a framing for the bytes after the first frame.
    pub(crate) fn after_first(inner: F) -> Self {
        Self {
            needs_inspection: false,
            is_first: false,
            ..Self::new(inner)
        }
    }

    /// Creates the framing of a new connection of a client.
    pub fn of_client() -> Self {
        let mut inner = F::default();
        inner.set_side(Side::Client);
        Self::new(inner)
    }

    /// Returns the frame that `input` begins with, as [`Framing::parse`] does.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    pub fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if self.needs_inspection {
            // A message is parsed again below. If this call returned messages, the compiler would not keep the parts of
            // a message in registers, also for later frames.
            match self.parse_inspected(
                input.bytes(),
                input.limit(),
                input.side(),
                input.read_state(),
            )? {
                Some(frame) if has_notices::<F>() && frame.kind == FrameKind::Message => {}
                first => return Ok(first),
            }
        }
        self.parse_checked(input)
    }

    /// Gives messages for which `is_event` returns `true` the kind of announced events, if this framing announces none.
    #[cold]
    pub fn set_is_event(&mut self, is_event: fn(&[u8]) -> bool) {
        if F::HAS_VALUES || F::has_notices(Side::Server) {
            return;
        }
        self.rare.get_or_insert_default().is_event = Some(is_event);
        self.needs_inspection = true;
    }

    /// Takes the time in milliseconds after which the client no longer waits for the reply to the request that was parsed
    /// last, if a notice directly before the request has set one.
    pub fn take_deadline(&mut self, request: &ParsedFrame) -> Option<u32> {
        let (id, limit) = self.rare.as_mut()?.deadline.take()?;
        (id == request.id).then_some(limit)
    }

    /// Returns the framing itself, which writes messages and has the values of parsed messages.
    #[inline]
    pub const fn get_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// Returns an upper bound for the length of the incomplete frame at the start of `bytes`, whose message is within
    /// `limit`. The bound is close if the bytes say how long the message is.
    pub fn frame_len_bound(&self, bytes: &[u8], limit: usize) -> usize {
        // With a limit that is too small, a framing returns the length of a message in place of waiting for its end, if
        // it is at most four times that limit.
        let mut smaller = limit;
        while F::HAS_INDEPENDENT_REQUESTS && smaller > OVERHEAD {
            smaller = smaller.div_ceil(SKIP_FACTOR);
            let input = Input::new(bytes, smaller, Side::Server, ReadState::Idle);
            match F::default().parse(input) {
                Ok(None) => {}
                Ok(Some(frame)) if frame.kind == FrameKind::Oversized => {
                    return frame.oversized_len().min(limit).saturating_add(OVERHEAD);
                }
                _ => break,
            }
        }
        limit.saturating_add(OVERHEAD)
    }

    /// Appends a frame with a rejection. Returns `true` if the framing has a frame for this rejection.
    pub fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        self.inner.reject(out, rejection)
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
            None => self.reject(out, &error.rejection()),
        }
    }

    /// Parses the first frame, or an announced one. This function gets the parts of the input, because the compiler
    /// would keep a whole input in memory for this call, also for later frames: 4 of 170 instructions of a small
    /// request in a batch.
    #[cold]
    #[inline(never)]
    fn parse_inspected(
        &mut self,
        bytes: &[u8],
        limit: usize,
        side: Side,
        read_state: ReadState,
    ) -> Result<Option<ParsedFrame>, FrameError> {
        let input = Input::new(bytes, limit, side, read_state);
        let parsed = if self.is_first {
            self.parse_first(input)
        } else {
            self.parse_checked(input)
        };
        let Some(mut frame) = parsed? else {
            return Ok(None);
        };
        if self.announced > 0 {
            self.mark_announced(&mut frame, limit, side)?;
        } else if let Some(is_event) = self.is_event() {
            match frame.kind {
                FrameKind::Message if is_event(bytes.get(frame.payload()).unwrap_or_default()) => {
                    frame.kind = FrameKind::Announced(Announcement::Events);
                }
                // An oversized message may be an event, and would pass for the reply to a request.
                FrameKind::Oversized => {
                    return Err(FrameError::too_large(frame.oversized_len(), limit));
                }
                _ => {}
            }
        }
        self.needs_inspection = self.is_first || self.announced > 0 || self.is_event().is_some();
        Ok(Some(frame))
    }

    /// Gives an announced message its kind.
    fn mark_announced(
        &mut self,
        frame: &mut ParsedFrame,
        limit: usize,
        side: Side,
    ) -> Result<(), FrameError> {
        match frame.kind {
            // The check is here, because the messages after the chunks of a request are parsed again, and would then be
            // requests.
            FrameKind::Message
                if side == Side::Server && self.announcement != Announcement::Chunks =>
            {
                let text = "items of a reply, or events, which clients do not send";
                Err(FrameError::malformed(text))
            }
            FrameKind::Message => {
                frame.kind = FrameKind::Announced(self.announcement);
                self.announced -= 1;
                Ok(())
            }
            // No rejection can take the place of an announced message.
            FrameKind::Oversized => Err(FrameError::too_large(frame.oversized_len(), limit)),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_event(&self) -> Option<fn(&[u8]) -> bool> {
        self.rare.as_ref()?.is_event
    }

    /// Takes the frame that waits for the bytes that decide, if there is one.
    fn take_held(&mut self) -> Option<Result<ParsedFrame, FrameError>> {
        let rare = self.rare.as_mut()?;
        let held = rare.held.take();
        if rare.is_event.is_none() && rare.deadline.is_none() {
            self.rare = None;
        }
        held
    }

    /// Records what a control frame of this kind says about the messages after it, if anything.
    #[cold]
    fn note_control(&mut self, code: u8, id: u32, text: &[u8]) {
        self.forget_deadline();
        match Notice::from_frame(code, text) {
            Some(Notice::Deadline(limit)) if F::HAS_IDS => {
                self.rare.get_or_insert_default().deadline = Some((id, limit));
            }
            // If announced chunks are missing, the next requests are not chunks in their place.
            Some(Notice::ChunksEnd) => self.announced = 0,
            // Without ids, no other message could come between the parts.
            Some(Notice::Announce(announcement, count))
                if F::HAS_IDS || announcement != Announcement::Parts =>
            {
                self.announcement = announcement;
                self.announced = count;
                self.needs_inspection = true;
            }
            _ => {}
        }
    }

    /// Forgets the deadline of a request that does not come directly after it, or is rejected. Another request may have
    /// its id.
    fn forget_deadline(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.deadline = None;
        }
    }

    fn parse_first(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let side = input.side();
        let parsed = match self.take_held() {
            Some(held) => held.map(Some),
            None => self.parse_checked(input),
        };
        let decision = match side {
            Side::Server => F::DETECTION.decide_request(input, &parsed, F::EXCHANGES),
            Side::Client => F::DETECTION.decide_reply(input, &parsed),
        };
        match decision {
            Decision::Replace(error) => Err(error),
            Decision::Deliver if parsed != Ok(None) => {
                // Skipped bytes are no message, so the frame after them is still the first.
                self.is_first = matches!(&parsed, Ok(Some(frame)) if frame.kind == FrameKind::Skip);
                parsed
            }
            Decision::Deliver | Decision::Hold => {
                if let Some(held) = parsed.transpose() {
                    self.rare.get_or_insert_default().held = Some(held);
                }
                Ok(None)
            }
        }
    }

    /// Parses a frame, and checks that it is possible.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse_checked(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some(frame) = self.inner.parse(input)? else {
            return Ok(None);
        };
        let arrived = input.bytes().len();
        let is_within = frame.payload.start <= frame.payload.end
            && frame.payload.end <= frame.consumed
            && frame.consumed <= arrived;
        let is_possible = match frame.kind {
            FrameKind::Message => {
                let may_be_empty =
                    F::HAS_VALUES || !F::EXCHANGES.are_many() && input.side() == Side::Client;
                is_within && (frame.consumed > 0 || may_be_empty)
            }
            // The rest of a message beyond the limit may arrive later.
            FrameKind::Oversized => {
                self.forget_deadline();
                arrived > 0 && frame.consumed > 0
            }
            FrameKind::Control(code) => {
                if is_within && code >= PING {
                    let text = input.bytes().get(frame.payload()).unwrap_or_default();
                    self.note_control(code, frame.id, text);
                }
                is_within && frame.consumed > 0
            }
            FrameKind::Skip => is_within && frame.consumed > 0,
            FrameKind::Announced(_) => false,
        };
        if is_possible {
            Ok(Some(frame))
        } else {
            Err(FrameError::impossible_frame())
        }
    }
}

/// Returns `true` if both ends have notices. Then a frame that is parsed twice is the same frame, which saves 30 instructions
/// (a fifth, with many in flight) for each request after the first.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the compiler then knows it")]
pub(crate) fn has_notices<F: Framing>() -> bool {
    F::has_notices(Side::Client) && F::has_notices(Side::Server)
}

impl<F: Framing> Default for ConnectionFraming<F> {
    fn default() -> Self {
        Self::new(F::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Detection, LengthPrefixed, Multiplexed};

    /// Finds the frame that it is given.
    #[derive(Default)]
    struct Finds(Option<ParsedFrame>);

    impl Framing for Finds {
        const DETECTION: Detection = Detection::OFF;

        fn parse(&mut self, _: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
            Ok(self.0.take())
        }

        fn finish(&mut self, _: &mut Vec<u8>, _: usize) -> Result<(), FrameError> {
            Ok(())
        }
    }

    #[test]
    fn frame_of_no_bytes_is_impossible() {
        for bytes in [0, 1] {
            for frame in [
                ParsedFrame::message(0..0, bytes),
                ParsedFrame::control(0x80, 0..0, bytes),
                ParsedFrame::oversized(9, bytes),
                ParsedFrame::skip(bytes),
            ] {
                let mut framing = ConnectionFraming::new(Finds(Some(frame)));
                let input = Input::new(b"x", 8, Side::Server, ReadState::Idle);
                assert_eq!(framing.parse(input).is_ok(), bytes > 0);
            }
        }
    }

    #[test]
    fn client_announces_nothing_but_chunks_also_if_it_is_parsed_again() {
        for code in [0x81, 0x82, 0x83] {
            let notice = [0x80, 0, 0, 5, code, 0, 0, 0, 1];
            let mut framing = ConnectionFraming::<LengthPrefixed>::default();
            let mut parse = |bytes| {
                let input = Input::new(bytes, 8, Side::Server, ReadState::Idle);
                framing.parse(input)
            };
            assert!(parse(&notice).is_ok(), "{code:#x}");
            for _ in 0..2 {
                assert_eq!(parse(b"\0\0\0\x01m").is_ok(), code == 0x83, "{code:#x}");
            }
        }
    }

    #[test]
    fn deadline_is_that_of_the_request_right_behind_it() {
        let parse_all = |frames: &[&[u8]]| {
            let mut framing = ConnectionFraming::<Multiplexed>::default();
            let mut deadlines = Vec::new();
            for frame in frames {
                let input = Input::new(frame, 8, Side::Server, ReadState::Idle);
                let parsed = framing.parse(input).expect("a frame").expect("a whole one");
                if parsed.kind == FrameKind::Message {
                    deadlines.push(framing.take_deadline(&parsed));
                }
            }
            deadlines
        };
        let notice = b"\x80\0\0\x05\0\0\0\x07\x88\0\0\x13\x88";
        let [ping, cancel] = [0x80, 0x87].map(|code| [0x80, 0, 0, 1, 0, 0, 0, 7, code]);
        let [request, other] = [b"\0\0\0\0\0\0\0\x07", b"\0\0\0\0\0\0\0\x08"];
        assert_eq!(parse_all(&[notice, request, request]), [Some(5_000), None]);
        assert_eq!(parse_all(&[notice, other, request]), [None, None]);
        assert_eq!(parse_all(&[notice, &ping, request]), [None]);
        assert_eq!(parse_all(&[notice, &cancel, request]), [None]);
        // A request beyond the limit was rejected, and its id may be used again.
        let oversized = b"\0\0\0\x09\0\0\0\x07";
        assert_eq!(parse_all(&[notice, oversized, request]), [None]);
    }

    #[test]
    fn request_that_is_parsed_again_keeps_its_deadline() {
        let mut framing = ConnectionFraming::<Multiplexed>::default();
        let parse = |framing: &mut ConnectionFraming<_>, frame| {
            let input = Input::new(frame, 8, Side::Server, ReadState::Idle);
            framing.parse(input).expect("a frame").expect("a whole one")
        };
        parse(&mut framing, b"\x80\0\0\x05\0\0\0\x07\x88\0\0\x13\x88");
        let [_, request] = [(); 2].map(|()| parse(&mut framing, b"\0\0\0\0\0\0\0\x07"));
        assert_eq!(framing.take_deadline(&request), Some(5_000));
    }
}
